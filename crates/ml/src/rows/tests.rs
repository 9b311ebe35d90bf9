//! What the row reader accepts, and the exact text of every complaint.

use std::io::BufReader;

use proptest::prelude::*;

use super::*;

fn error(text: impl AsRef<[u8]>) -> String {
    read("shard.txt", text.as_ref()).unwrap_err().to_string()
}

#[test]
fn reads_the_reference_format() {
    let rows = read("shard.txt", "1,2.5,-3e2,7\n\n 4 ,5,6, 19 \r\n0,0,0,7".as_bytes()).unwrap();
    assert_eq!(rows.features(), [1.0, 2.5, -300.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0]);
    assert_eq!((rows.width(), rows.samples()), (3, 3));
    assert_eq!(rows.labels().collect::<Vec<_>>(), ["7", "19", "7"]);
}

#[test]
fn a_byte_order_mark_and_text_labels_are_fine() {
    let rows = read("shard.txt", "\u{feff}1,größer\n2,a b\n".as_bytes()).unwrap();
    assert_eq!(rows.labels().collect::<Vec<_>>(), ["größer", "a b"]);
}

#[test]
fn complaints_name_file_line_and_column() {
    assert_eq!(error(""), "shard.txt has no rows");
    assert_eq!(error("\n \r\n"), "shard.txt has no rows");
    assert_eq!(error("7\n"), "shard.txt, line 1, column 1: one column is a label without features");
    assert_eq!(error("1,2,a\n\n1,x,a\n"), "shard.txt, line 3, column 2: `x` is not a number");
    assert_eq!(error("1,,a\n"), "shard.txt, line 1, column 2: `` is not a number");
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
    assert_eq!(read("shard.txt", line(LINE_BYTES_MAX).as_bytes()).unwrap().samples(), 2);
    assert_eq!(error(line(LINE_BYTES_MAX + 1)), "shard.txt, line 2, column 2: the line is longer than 1048576 bytes");
    let endless = BufReader::new(std::io::repeat(b'1'));
    let complaint = read("endless", endless).unwrap_err().to_string();
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
    let complaint = read("shard.txt", BufReader::new(Failing)).unwrap_err().to_string();
    assert_eq!(complaint, "shard.txt, line 1: cannot read: the disk is gone");
}

#[test]
fn unlabelled_rows_fit_the_model() {
    let read = |text: &str, width| read_unlabelled("-", text.as_bytes(), width);
    let rows = read("1,2\n3,4\n", 2).unwrap();
    assert_eq!((rows.features, rows.samples, rows.labels_ignored), (vec![1.0, 2.0, 3.0, 4.0], 2, false));
    let rows = read("1,2,?\n3,4,\n", 2).unwrap();
    assert_eq!((rows.features, rows.samples, rows.labels_ignored), (vec![1.0, 2.0, 3.0, 4.0], 2, true));
    let error = |text, width| read(text, width).unwrap_err().to_string();
    assert_eq!(error("1\n", 2), "-, line 1, column 1: 1 columns, but the model has 2 features");
    assert_eq!(error("1,2,3,4\n", 2), "-, line 1, column 4: 4 columns, but the model has 2 features");
    assert_eq!(error("1,2\n1,2,3\n", 2), "-, line 2, column 3: 3 columns, but 2 in the first row");
    assert_eq!(error("", 2), "- has no rows");
}

#[test]
fn labels_are_a_union_in_order() {
    let rows = |text: &str| read("shard.txt", text.as_bytes()).unwrap();
    let numbers = [rows("1,10\n1,9\n"), rows("1,-1\n1,9\n1,007\n1,7\n")];
    assert_eq!(LabelSet::union(&numbers).names(), ["-1", "007", "7", "9", "10"]);
    let texts = [rows("1,10\n1,9\n"), rows("1,b\n1,a\n")];
    assert_eq!(LabelSet::union(&texts).names(), ["10", "9", "a", "b"]);
}

#[test]
fn rows_are_encoded_or_the_unknown_label_is_named() {
    let labels = LabelSet::from_names(["a", "b"]);
    let data = read("shard.txt", "1,b\n2,a\n3,b\n".as_bytes()).unwrap().encode(&labels).unwrap();
    assert_eq!((data.features(), data.labels(), data.width()), (&[1.0, 2.0, 3.0][..], &[1, 0, 1][..], 1));
    let rows = read("shard.txt", "1,2,b\n\n2,1,c\n3,1,c\n".as_bytes()).unwrap();
    assert_eq!(rows.encode(&labels).unwrap_err().to_string(), "shard.txt, line 3, column 3: label `c` is unknown");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read("fuzz", &bytes[..]);
        let _ = read_unlabelled("fuzz", &bytes[..], 2);
    }

    #[test]
    fn nothing_like_rows_panics(text in "[-0-9.,ae \r\n\"é]{0,80}", width in 0..5usize) {
        if let Ok(rows) = read("fuzz", text.as_bytes()) {
            prop_assert_eq!(rows.features().len(), rows.samples() * rows.width());
            let labels = LabelSet::union([&rows]);
            prop_assert!(rows.encode(&labels).is_ok());
        }
        let _ = read_unlabelled("fuzz", text.as_bytes(), width);
    }
}
