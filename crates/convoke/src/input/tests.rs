//! Inputs, cut, packed and taken apart again, against a naive splitter.
//!
//! Nothing is uploaded: parts are read as workers would read them.

use std::fs;
use std::io::{self, BufReader, Read};

use convoke_wire::items::Items;
use proptest::prelude::*;

use super::*;

/// What came of an input: its manifest, and its items with what people call them.
struct Came {
    items: Items,
    parts: usize,
    cut: Vec<Vec<u8>>,
}

impl Came {
    fn of(mut input: Input) -> Result<Self, InputError> {
        let (mut entries, mut blobs) = (Vec::new(), Vec::new());
        for part in &mut input {
            let Part { entry, content } = part?;
            let mut blob = Vec::new();
            content.open().unwrap().read_to_end(&mut blob).unwrap();
            assert_eq!(blob.len() as u64, content.bytes());
            blobs.push(bytes::Bytes::from(blob));
            entries.push(Entry { digest: vec![0; 32], ..entry });
        }
        let parts = entries.len();
        let items = Items::new(input.manifest(entries)).unwrap();
        assert_eq!(items.count(), input.items_taken);
        let one = |index| {
            let found = items.locate(index).unwrap();
            let blob = &blobs[found.entry as usize];
            assert!(blob.len() as u64 <= found.blob_bytes_max(u64::MAX), "no larger than a worker takes");
            found.item(blob.clone()).unwrap().to_vec()
        };
        let cut = (0..items.count()).map(one).collect();
        Ok(Self { items, parts, cut })
    }

    fn texts(&self) -> Vec<&str> {
        self.cut.iter().map(|item| std::str::from_utf8(item).unwrap()).collect()
    }

    fn labels(&self) -> Vec<String> {
        (0..self.items.count()).map(|index| self.items.label(index)).collect()
    }
}

/// Cuts a text that is read in stretches of a few bytes, as a pipe may bring them.
fn came(text: &[u8], cut: Cut) -> Result<Came, InputError> {
    let reader = BufReader::with_capacity(7, io::Cursor::new(text.to_vec()));
    Came::of(Input::of_text("it".to_owned(), Box::new(reader), cut)?)
}

fn refused(text: &[u8], cut: Cut) -> String {
    came(text, cut).err().unwrap().to_string()
}

fn count(count: u64) -> Chunk {
    Chunk::Count(NonZeroU64::new(count).unwrap())
}

fn bytes(bytes: u64) -> Chunk {
    Chunk::Bytes(NonZeroU64::new(bytes).unwrap())
}

fn records(chunk: Chunk) -> Cut {
    Cut::Records { chunk, delimiter: b',', header: true }
}

#[test]
fn each_line_is_an_item_without_its_end() {
    let came = came(b"a\n\nb\r\n\r\n c \n", Cut::EachLine).unwrap();
    assert_eq!((came.texts(), came.parts), (vec!["a", "", "b", "", " c "], 1));
    assert_eq!(came.labels()[4], "line 5 of it");
    assert_eq!(self::came(b"a\nb\r", Cut::EachLine).unwrap().texts(), ["a", "b"]);
    assert_eq!(self::came(b"\n", Cut::EachLine).unwrap().texts(), [""]);
}

#[test]
fn lines_are_cut_by_number_or_by_size() {
    let came = came(b"1\n2\r\n3\n4\n5", Cut::Lines(count(2))).unwrap();
    assert_eq!(came.texts(), ["1\n2\r\n", "3\n4\n", "5"]);
    assert_eq!(came.labels(), ["lines 1-2 of it", "lines 3-4 of it", "line 5 of it"]);
    let came = self::came(b"12\n34\n5\n6789012\n3\n", Cut::Lines(bytes(6))).unwrap();
    assert_eq!(came.texts(), ["12\n34\n", "5\n", "6789012\n", "3\n"]);
    assert_eq!(came.labels()[..2], ["bytes from 0 of it", "chunk 2 from byte 0 of it"]);
}

#[test]
fn records_keep_their_header_and_are_cut_outside_quotes() {
    let text = b"id,\"a\nnote\"\n1,\"x\ny\"\n2,5\" disk\n3,\"\"\"\n\"\n";
    let came = came(text, records(count(2))).unwrap();
    assert_eq!(came.items.manifest().header, b"id,\"a\nnote\"\n");
    assert_eq!(came.texts(), ["1,\"x\ny\"\n2,5\" disk\n", "3,\"\"\"\n\"\n"]);
    assert_eq!(came.labels(), ["records 1-2 of it", "record 3 of it"]);
    let came = self::came(text, records(bytes(1))).unwrap();
    assert_eq!((came.cut.len(), came.labels()[0].as_str()), (3, "bytes from 12 of it"));
    let bare = Cut::Records { chunk: count(1), delimiter: b';', header: false };
    assert_eq!(self::came(b"1;\"\n\"\n2;b", bare).unwrap().texts(), ["1;\"\n\"\n", "2;b"]);
}

#[test]
fn files_are_items_in_the_order_in_which_people_count() {
    let folder = tempfile::tempdir().unwrap();
    let large = vec![7; PIECE_BYTES_MAX + 1];
    for (name, bytes) in
        [("10.png", &b"ten"[..]), ("2.png", b""), ("3.png", &large), (".hidden", b"x"), ("4.png", b"4")]
    {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    fs::create_dir(folder.path().join("1")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join(".#lock")).unwrap();
    std::os::unix::net::UnixListener::bind(folder.path().join("5")).unwrap();
    let input = Input::open(folder.path(), Cut::Files).unwrap();
    assert_eq!(input.left_out(), 4);
    let came = Came::of(input).unwrap();
    assert_eq!(
        (came.cut[0].len(), came.cut[1] == large, &came.cut[2..]),
        (0, true, &[b"4".to_vec(), b"ten".into()][..])
    );
    let shown = folder.path().display();
    assert_eq!(came.labels(), ["2.png", "3.png", "4.png", "10.png"].map(|name| format!("{shown}/{name}")));
    assert_eq!(came.parts, 3, "the large file is a blob of its own");
}

#[test]
fn a_piece_has_few_items_and_few_bytes() {
    let many = came(&b"x\n".repeat(PIECE_ITEMS_MAX as usize * 2 + 1), Cut::EachLine).unwrap();
    assert_eq!((many.parts, many.cut.len()), (3, PIECE_ITEMS_MAX as usize * 2 + 1));
    assert_eq!(many.labels().last().unwrap(), "line 8193 of it");
    let line = |length: usize| [vec![b'x'; length - 1], b"\n".to_vec()].concat();
    let half = PIECE_BYTES_MAX / 2;
    let text = [line(half), line(half), line(2), line(PIECE_BYTES_MAX + 1), line(3)].concat();
    let came = came(&text, Cut::Lines(count(1))).unwrap();
    assert_eq!(came.items.manifest().entries.iter().map(|entry| entry.items).collect::<Vec<_>>(), [2, 1, 0, 1]);
    assert_eq!(came.items.manifest().entries.iter().map(|entry| entry.first).collect::<Vec<_>>(), [1, 3, 4, 5]);
    assert_eq!(came.labels()[3], "line 4 of it");
    assert!(came.cut.concat() == text);
}

#[test]
fn an_input_that_cannot_be_cut_is_named() {
    assert_eq!(refused(b"", Cut::EachLine), "it is empty: there is nothing to do");
    assert_eq!(refused(b"", records(count(1))), "it is empty: there is nothing to do");
    assert_eq!(refused(b"id\n", records(count(1))), "it holds a header and no record: there is nothing to do");
    let open = b"id\n1\n2,\"x\n3\n";
    let said = "it: line 3: a record begins here with a quote in it that is never closed";
    assert_eq!(refused(open, records(count(9))), said);
    let header = [&b"\""[..], &vec![b'x'; 70_000]].concat();
    assert_eq!(refused(&header, records(count(1))), "it: line 1: the header has more than 65536 bytes");
    let folder = tempfile::tempdir().unwrap();
    let open = |cut| Input::open(folder.path(), cut).err().unwrap().to_string();
    let shown = folder.path().display();
    assert_eq!(open(Cut::EachLine), format!("{shown} is a directory, and a file is expected"));
    assert_eq!(open(Cut::Files), format!("{shown} holds no files: there is nothing to do"));
    let gone = Input::open(&folder.path().join("gone"), Cut::EachLine).err().unwrap().to_string();
    assert!(gone.starts_with(&format!("cannot read {shown}/gone: ")), "{gone}");
}

#[test]
fn an_input_has_no_more_items_than_a_job_has_tasks() {
    let text = io::repeat(b'\n').take(u64::from(TASKS_MAX) + 1);
    let input = Input::of_text("it".to_owned(), Box::new(BufReader::new(text)), Cut::EachLine).unwrap();
    let parts: Vec<_> = input.collect();
    let (last, before) = parts.split_last().unwrap();
    assert!(matches!(last, Err(InputError::TooManyItems { .. })) && before.iter().all(Result::is_ok));
    let text = io::repeat(b'\n').take(TASKS_MAX.into());
    let input = Input::of_text("it".to_owned(), Box::new(BufReader::new(text)), Cut::EachLine).unwrap();
    assert!(input.into_iter().all(|part| part.is_ok()));
}

#[test]
fn an_item_is_never_larger_than_memory_allows() {
    let reader: text::Reader = Box::new(&b"1\n22\n333\n4444\n"[..]);
    let mut text = Text::new("it".to_owned(), reader, Cut::Lines(bytes(100))).at_most(6);
    let mut item = Vec::new();
    assert!(text.item(&mut item).unwrap().is_some() && item == b"1\n22\n", "cut where the next line is too much");
    let refused = |cut| {
        let reader: text::Reader = Box::new(&b"1\n22\n333\n4444444\n"[..]);
        let mut text = Text::new("it".to_owned(), reader, cut).at_most(7);
        let read = |_| text.item(&mut Vec::new()).err();
        (0..4).find_map(read).unwrap().to_string()
    };
    assert_eq!(refused(Cut::Lines(count(1))), "it: line 4: an item has more than 7 bytes");
    assert_eq!(refused(Cut::Lines(count(3))), "it: line 3: an item has more than 7 bytes");
}

#[test]
fn a_read_that_breaks_off_is_told_by_its_line() {
    struct Breaks;
    impl Read for Breaks {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let reader = Box::new(BufReader::new((&b"1\n2\n"[..]).chain(Breaks)));
    let input = Input::of_text("it".to_owned(), reader, Cut::EachLine).unwrap();
    assert_eq!(Came::of(input).err().unwrap().to_string(), "it: line 3: cannot read: the disk is gone");
}

/// Text of few different bytes, so that line ends, quotes and delimiters meet.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b"ab\n\n\r\",, "[..]), 1..200)
}

proptest! {
    #[test]
    fn lines_end_to_end_are_the_text(text in any_text(), size in 1u64..20) {
        for cut in [Cut::Lines(count(size)), Cut::Lines(bytes(size))] {
            prop_assert_eq!(&came(&text, cut).unwrap().cut.concat(), &text);
        }
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let expected: Vec<_> = lines.chunks(size as usize).map(<[_]>::concat).collect();
        prop_assert_eq!(came(&text, Cut::Lines(count(size))).unwrap().cut, expected);
        let largest = lines.iter().map(|line| line.len()).max().unwrap().max(size as usize);
        prop_assert!(came(&text, Cut::Lines(bytes(size))).unwrap().cut.iter().all(|item| item.len() <= largest));
    }

    #[test]
    fn each_line_is_what_a_naive_splitter_finds(text in any_text()) {
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let bare = |line: &[u8]| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            line.strip_suffix(b"\r").unwrap_or(line).to_vec()
        };
        prop_assert_eq!(came(&text, Cut::EachLine).unwrap().cut, lines.map(bare).collect::<Vec<_>>());
    }

    #[test]
    fn header_and_records_end_to_end_are_the_text(text in any_text(), size in 1u64..20) {
        for cut in [records(count(size)), records(bytes(size))] {
            match came(&text, cut) {
                Ok(came) => prop_assert_eq!([came.items.manifest().header.clone(), came.cut.concat()].concat(), text.clone()),
                Err(InputError::UnclosedQuote { .. } | InputError::HeaderOnly { .. }) => {}
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }

    #[test]
    fn records_of_quoted_cells_stay_whole(rows in prop::collection::vec(prop::collection::vec("[a\n\", ]{0,6}", 1..4), 1..20)) {
        let cell = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
        let row = |row: &Vec<String>| format!("{}\n", row.iter().map(cell).collect::<Vec<_>>().join(","));
        let rows: Vec<_> = rows.iter().map(row).collect();
        let text = format!("header\n{}", rows.concat());
        let came = came(text.as_bytes(), records(count(1))).unwrap();
        prop_assert_eq!(came.texts(), rows);
    }
}
