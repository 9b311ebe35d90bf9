//! What the row reader accepts, and the exact text of every complaint.

use std::io::BufReader;

use proptest::prelude::*;

use super::*;

fn labelled(source_name: &str, input: impl BufRead) -> Result<Rows, RowError> {
    read(source_name, input, &Layout::default())
}

fn inputs(width: usize, names: &[&str]) -> Inputs {
    Inputs { width, names: names.iter().map(|name| name.to_string()).collect() }
}

fn layout(delimiter: char, label: &str, drop: &[&str]) -> Layout {
    let drop = drop.iter().map(|name| name.to_string()).collect();
    Layout { delimiter: delimiter as u8, label: LabelColumn::parse(label), drop }
}

fn error(text: impl AsRef<[u8]>) -> String {
    labelled("shard.txt", text.as_ref()).unwrap_err().to_string()
}

#[test]
fn reads_the_reference_format() {
    let rows = labelled("shard.txt", "1,2.5,-3e2,7\n\n 4 ,5,6, 19 \r\n0,0,0,7".as_bytes()).unwrap();
    assert_eq!(rows.features(), [1.0, 2.5, -300.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0]);
    assert_eq!((rows.width(), rows.samples()), (3, 3));
    assert_eq!(rows.labels().collect::<Vec<_>>(), ["7", "19", "7"]);
}

#[test]
fn a_byte_order_mark_and_text_labels_are_fine() {
    let rows = labelled("shard.txt", "\u{feff}1,größer\n2,a b\n".as_bytes()).unwrap();
    assert_eq!(rows.labels().collect::<Vec<_>>(), ["größer", "a b"]);
}

#[test]
fn complaints_name_file_line_and_column() {
    assert_eq!(error(""), "shard.txt has no rows");
    assert_eq!(error("\n \r\n"), "shard.txt has no rows");
    assert_eq!(error("7\n"), "shard.txt, line 1, column 1: one column is a label without features");
    assert_eq!(error("1,2,a\n\n1,x,a\n"), "shard.txt, line 3, column 2: `x` is not a number");
    assert_eq!(error("1,,a\n"), "shard.txt, line 1, column 2: the cell is empty");
    assert_eq!(error("1,NaN,a\n"), "shard.txt, line 1, column 2: `NaN` is not a finite number");
    assert_eq!(error("1e39,2,a\n"), "shard.txt, line 1, column 1: `1e39` is not a finite number");
    assert_eq!(error("1,2,a\n1,a\n"), "shard.txt, line 2, column 2: 2 columns, but 3 in the first row");
    assert_eq!(error("1,2,a\n1,2,3,4,a\n"), "shard.txt, line 2, column 4: 5 columns, but 3 in the first row");
    assert_eq!(error("1,2, \n"), "shard.txt, line 1, column 3: the label is empty");
    assert_eq!(error("1,\0,a\n"), "shard.txt, line 1, column 2: byte 0x00 is not text");
    assert_eq!(error(b"1,2,a\n1,2,\xff\n"), "shard.txt, line 2, column 3: byte 0xff is not text");
    assert_eq!(error(b"1,2,\xc3"), "shard.txt, line 1, column 3: byte 0xc3 is not text");
    let long = format!("1,{}\n", "a".repeat(257));
    assert_eq!(error(long), "shard.txt, line 1, column 2: the label has 257 bytes, more than 256");
    let long = format!("1,{}x,a\n", "9".repeat(300));
    assert_eq!(error(long), format!("shard.txt, line 1, column 2: `{}…` is not a number", "9".repeat(60)));
}

#[test]
fn a_line_of_a_mebibyte_is_the_limit() {
    let line = |bytes: usize| format!("0,a\n{},a", "0".repeat(bytes - 2));
    assert_eq!(labelled("shard.txt", line(LINE_BYTES_MAX).as_bytes()).unwrap().samples(), 2);
    assert_eq!(error(line(LINE_BYTES_MAX + 1)), "shard.txt, line 2, column 2: the line is longer than 1048576 bytes");
    let endless = BufReader::new(std::io::repeat(b'1'));
    let complaint = labelled("endless", endless).unwrap_err().to_string();
    assert_eq!(complaint, "endless, line 1, column 1: the line is longer than 1048576 bytes");
}

#[test]
fn too_many_labels_are_refused() {
    let text: String = (0..=LABELS_MAX).map(|label| format!("1,{label}\n")).collect();
    assert_eq!(error(text), "shard.txt, line 65537, column 2: more than 65536 different labels");
}

#[test]
fn a_failing_input_is_named() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let complaint = labelled("shard.txt", BufReader::new(Failing)).unwrap_err().to_string();
    assert_eq!(complaint, "shard.txt, line 1: cannot read: the disk is gone");
}

#[test]
fn unlabelled_rows_fit_the_model() {
    let read = |text: &str, width| read_unlabelled("-", text.as_bytes(), &Layout::default(), &inputs(width, &[]));
    let rows = read("1,2\n3,4\n", 2).unwrap();
    assert_eq!((rows.features, rows.samples, rows.labels_ignored), (vec![1.0, 2.0, 3.0, 4.0], 2, None));
    let rows = read("1,2,?\n3,4,\n", 2).unwrap();
    assert_eq!((rows.features, rows.samples, rows.labels_ignored), (vec![1.0, 2.0, 3.0, 4.0], 2, Some(3)));
    let error = |text, width| read(text, width).unwrap_err().to_string();
    assert_eq!(error("1\n", 2), "-, line 1, column 1: 1 columns, but the model has 2 features");
    assert_eq!(error("1,2,3,4\n", 2), "-, line 1, column 4: 4 columns, but the model has 2 features");
    assert_eq!(error("1,2\n1,2,3\n", 2), "-, line 2, column 3: 3 columns, but 2 in the first row");
    assert_eq!(error("", 2), "- has no rows");
}

#[test]
fn labels_are_a_union_in_order() {
    let rows = |text: &str| labelled("shard.txt", text.as_bytes()).unwrap();
    let numbers = [rows("1,10\n1,9\n"), rows("1,-1\n1,9\n1,007\n1,7\n")];
    assert_eq!(LabelSet::union(&numbers).names(), ["-1", "007", "7", "9", "10"]);
    let texts = [rows("1,10\n1,9\n"), rows("1,b\n1,a\n")];
    assert_eq!(LabelSet::union(&texts).names(), ["10", "9", "a", "b"]);
}

#[test]
fn rows_are_encoded_or_the_unknown_label_is_named() {
    let labels = LabelSet::from_names(["a", "b"]);
    let data = labelled("shard.txt", "1,b\n2,a\n3,b\n".as_bytes()).unwrap().encode(&labels).unwrap();
    assert_eq!((data.features(), data.labels(), data.width()), (&[1.0, 2.0, 3.0][..], &[1, 0, 1][..], 1));
    let rows = labelled("shard.txt", "1,2,b\n\n2,1,c\n3,1,c\n".as_bytes()).unwrap();
    assert_eq!(rows.encode(&labels).unwrap_err().to_string(), "shard.txt, line 3, column 3: label `c` is unknown");
}

#[test]
fn labels_can_be_numbers_to_predict() {
    let data = labelled("shard.txt", "1,2,2.5\n3,4,-1e3\n5,6,2.5\n".as_bytes()).unwrap().encode_values().unwrap();
    assert_eq!(data, Dataset::of_values(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![2.5, -1000.0, 2.5], 2).unwrap());
    let error = |text: &str| labelled("shard.txt", text.as_bytes()).unwrap().encode_values().unwrap_err().to_string();
    assert_eq!(error("1,2\n1,big\n"), "shard.txt, line 2, column 2: `big` is not a number");
    assert_eq!(error("x,y\n1,2\n1,inf\n"), "shard.txt, line 3, column 2 (`y`): `inf` is not a finite number");

    // Read as numbers at once, there may be as many different ones as there are rows.
    let read = |text: &str| read_values("shard.txt", text.as_bytes(), &Layout::default());
    let many: String = (0..LABELS_MAX + 1).map(|row| format!("0,{row}\n")).collect();
    assert!(matches!(labelled("shard.txt", many.as_bytes()), Err(RowError::TooManyLabels { .. })));
    let many = read(&many).unwrap();
    assert_eq!((many.samples(), many.labels().count(), many.label_column()), (LABELS_MAX + 1, 0, ""));
    let rows = read("x,y\n1,2\n3,4.5\n").unwrap();
    assert_eq!((rows.label_column(), rows.values().unwrap()), ("y", vec![2.0, 4.5]));
    assert_eq!(rows.choose_values(&[1], &[2.0, 4.5]), Dataset::of_values(vec![3.0], vec![4.5], 1).unwrap());
    assert_eq!(rows.encode_values().unwrap(), Dataset::of_values(vec![1.0, 3.0], vec![2.0, 4.5], 1).unwrap());
    let error = read("1,2\n1,2\n1,big\n").unwrap_err().to_string();
    assert_eq!(error, "shard.txt, line 3, column 2: `big` is not a number");
}

#[test]
fn quotes_headers_and_other_layouts_are_read() {
    let text = "\u{feff}kind;\"petal; length\";width\r\n\"a \"\"b\"\"\";\"1,5\";2\r\n".replace("1,5", "1.5");
    let rows = read("iris.csv", text.as_bytes(), &layout(';', "first", &[])).unwrap();
    assert_eq!(rows.feature_names(), ["petal; length", "width"]);
    assert_eq!((rows.features(), rows.label_names().collect::<Vec<_>>()), (&[1.5, 2.0][..], vec!["a \"b\""]));

    let text = "id\tkind\tx\ty\n7\ta\t1\t2\n8\tb\t3\t4";
    for layout in [layout('\t', "kind", &["id"]), layout('\t', "2", &["1"]), layout('\t', "first", &["id"])] {
        let rows = read("t", text.as_bytes(), &layout).unwrap();
        assert_eq!((rows.feature_names(), rows.features()), (&["x".into(), "y".into()][..], &[1.0, 2.0, 3.0, 4.0][..]));
        assert_eq!(rows.labels().collect::<Vec<_>>(), ["a", "b"]);
    }
    let rows = read("t", "  1   2 a\n 3 4  b \n".as_bytes(), &layout(' ', "last", &[])).unwrap();
    assert_eq!((rows.width(), rows.feature_names(), rows.samples()), (2, &[][..], 2));
    // A column that is dropped by its number needs no name, and no numbers; a list may be dropped, unless it is a name.
    let rows = read("t", ",\"a,b\",c,d\n0,x,1,l\n".as_bytes(), &layout(',', "last", &["1", "a,b"])).unwrap();
    assert_eq!(rows.feature_names(), ["c"]);
    let rows = read("t", "a,b,c,d\n0,x,1,l\n".as_bytes(), &layout(',', "last", &["a,b"])).unwrap();
    assert_eq!(rows.feature_names(), ["c"]);
}

#[test]
fn a_row_with_one_bad_cell_is_no_header() {
    assert_eq!(error("1,x,a\n1,2,a\n"), "shard.txt, line 1, column 2: `x` is not a number");
    assert_eq!(error("x,y,7\n1,2,7\n"), "shard.txt, line 1, column 1: `x` is not a number");
    assert_eq!(error("x,y,kind\n\n1,b,7\n"), "shard.txt, line 3, column 2 (`y`): `b` is not a number");
    assert_eq!(error("x,y,x\n1,2,7\n"), "shard.txt, line 1, column 3: the header has the name `x` twice");
    assert_eq!(error("x,,kind\n1,2,7\n"), "shard.txt, line 1, column 2: the cell is empty");
    assert_eq!(error("\nx,y,kind\n\n"), "shard.txt, line 2: no rows behind the header");
}

#[test]
fn what_is_no_text_of_rows_is_called_by_name() {
    let not_rows = |format| format!("shard.txt, line 1, column 1: this is {format}, not rows of UTF-8 text");
    assert_eq!(error(b"\xff\xfe1\0,\0a\0"), not_rows("UTF-16 text"));
    assert_eq!(error(b"1\0,\0a\0\n\0"), not_rows("UTF-16 text"));
    assert_eq!(error(b"\x001\0,\0a\0\n"), not_rows("UTF-16 text"));
    assert_eq!(error(b"\x1f\x8b\x08\0\0"), not_rows("a gzip file"));
    assert_eq!(error(b"PK\x03\x04\x14\0"), not_rows("a zip file"));
    assert_eq!(error("1,\"2,a\n"), "shard.txt, line 1, column 2: a quote is opened and not closed on this line");
    assert_eq!(error("x,y,l\n1,2,\"a\"b\n"), "shard.txt, line 2, column 3 (`l`): text stands behind the closing quote");
}

#[test]
fn two_million_columns_are_a_line_too_long() {
    let wide = "1,".repeat(2_000_000);
    assert_eq!(error(&wide), "shard.txt, line 1, column 524289: the line is longer than 1048576 bytes");
}

#[test]
fn columns_that_are_not_there_are_named_with_those_that_are() {
    let error = |text: &str, layout: Layout| read("t.csv", text.as_bytes(), &layout).unwrap_err().to_string();
    let header = "x,y,kind\n1,2,a\n";
    assert_eq!(
        error(header, layout(',', "knid", &[])),
        "t.csv, line 1, columns 1 to 3: none is called `knid`: the header has `x`, `y`, `kind`"
    );
    assert_eq!(
        error("1,2,a\n", layout(',', "last", &["id"])),
        "t.csv, line 1, columns 1 to 3: none is called `id`: the first row is no header, and has columns 1 to 3"
    );
    let wide: String = (0..30).map(|column| format!("c{column},")).collect();
    assert!(error(&format!("{wide}l\n"), layout(',', "x", &[])).ends_with("`c18`, `c19` and 11 more"));
    assert_eq!(
        error(header, layout(',', "kind", &["x", "kind"])),
        "t.csv, line 1, column 3: `kind` is the label, and cannot be dropped"
    );
    let none_left = "t.csv, line 1, column 3: of 3 columns, what is dropped leaves none for features";
    assert_eq!(error(header, layout(',', "last", &["x,y"])), none_left);
    assert_eq!(error(header, layout(',', "last", &["1", "2", "3"])), none_left);
}

#[test]
fn another_delimiter_is_guessed() {
    let guess = |text: &str| match labelled("t", text.as_bytes()).unwrap_err() {
        RowError::NoFeatures { delimiter, .. } | RowError::NotANumber { delimiter, .. } => delimiter,
        other => panic!("{other}"),
    };
    assert_eq!(guess("x;y;kind\n1;2;a\n"), Some(';'));
    assert_eq!(guess("1\t2\ta\n"), Some('\t'));
    assert_eq!(guess("1,5;2,5;a\n"), Some(';'));
    assert_eq!(guess("1 2 a\n"), Some(' '));
    assert_eq!(guess("7\n"), None);
}

#[test]
fn rows_for_a_model_may_lack_what_is_not_used() {
    let layout = layout(',', "kind", &["id"]);
    let model = inputs(2, &["x", "y"]);
    let read = |text: &str| read_unlabelled("t", text.as_bytes(), &layout, &model).map(|rows| rows.labels_ignored);
    assert_eq!(read("id,x,kind,y\n1,2,a,3\n").unwrap(), Some(3));
    assert_eq!(read("x,kind,y\n2,a,3\n").unwrap(), Some(2));
    assert_eq!(read("id,x,y\n1,2,3\n").unwrap(), None);
    assert_eq!(read("1,2\n").unwrap(), None);
    let error = |text: &str| read(text).unwrap_err().to_string();
    assert_eq!(error("y,x\n1,2\n"), "t, line 1, column 1: the column is `y`, expected `x`");
    assert_eq!(error("x,kind\n1,2\n"), "t, line 1, column 2: the column is `kind`, expected `y`");
    assert!(error("1,2,a\n").contains("none is called `kind`"));
    assert_eq!(error("x\n1\n"), "t, line 1, column 1: 1 columns, but the model has 2 features");
    let labelled = |text: &str| read_for("t", text.as_bytes(), &layout, &model);
    assert_eq!(labelled("x,y,kind\n2,3,a\n").unwrap().features(), [2.0, 3.0]);
    assert_eq!(
        labelled("x,y\n2,3\n").unwrap_err().to_string(),
        "t, line 1, column 2: 2 columns, but the model has 2 features"
    );
}

#[test]
fn some_rows_are_chosen() {
    let rows = labelled("t", "1,b\n2,a\n3,b\n".as_bytes()).unwrap();
    let classes = rows.classes(&LabelSet::union([&rows])).unwrap();
    let chosen = rows.choose(&[2, 1], &classes);
    assert_eq!((chosen.features(), chosen.labels()), (&[3.0, 2.0][..], &[1, 0][..]));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = labelled("fuzz", &bytes[..]);
        let _ = read_unlabelled("fuzz", &bytes[..], &Layout::default(), &inputs(2, &[]));
    }

    #[test]
    fn nothing_like_rows_panics(
        text in "[-0-9.,;ae \r\n\t\"é]{0,80}",
        width in 0..5usize,
        delimiter in prop_oneof![Just(','), Just(';'), Just('\t'), Just(' ')],
        label in "first|last|a|e|2|9",
        drop in proptest::collection::vec("a|e|1|2|1,2|a,e|,", 0..3),
    ) {
        let layout = Layout { delimiter: delimiter as u8, label: LabelColumn::parse(&label), drop };
        if let Ok(rows) = read("fuzz", text.as_bytes(), &layout) {
            prop_assert_eq!(rows.features().len(), rows.samples() * rows.width());
            prop_assert!(rows.width() > 0);
            let labels = LabelSet::union([&rows]);
            prop_assert!(rows.encode(&labels).is_ok());
        }
        let model = Inputs { width, names: vec!["a".into(); width] };
        let _ = read_unlabelled("fuzz", text.as_bytes(), &layout, &model);
        let _ = read_for("fuzz", text.as_bytes(), &layout, &model);
    }
}
