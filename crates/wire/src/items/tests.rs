//! Finding and naming items, and what a hostile peer's manifests and pieces come to.
//!
//! It does not know where manifests come from: each is written down here.

use proptest::prelude::*;

use super::*;
use crate::program::encode;

fn entry(items: u32, first: u64, samples: u64) -> Entry {
    Entry { digest: vec![items as u8; 32], items, first, samples, ..Default::default() }
}

fn items(unit: Unit, per_item: u64, source: &str, entries: Vec<Entry>) -> Items {
    let manifest = Manifest { entries, unit: unit.into(), per_item, source: source.to_owned(), ..Default::default() };
    Items::new(manifest).unwrap()
}

fn piece(sizes: &[u32], data: &'static [u8]) -> Bytes {
    encode(&Piece { sizes: sizes.to_vec(), data: Bytes::from_static(data) }).into()
}

#[test]
fn an_entry_is_an_item_or_holds_several() {
    let items = items(Unit::Unspecified, 0, "", vec![entry(3, 0, 0), entry(0, 0, 0), entry(2, 0, 0)]);
    assert_eq!(items.count(), 6);
    let found = (0..6).map(|index| items.locate(index).unwrap()).map(|found| (found.entry, found.within));
    let within = |place, items| Some(Within { place, items });
    let expected = [(0, within(0, 3)), (0, within(1, 3)), (0, within(2, 3)), (1, None), (2, within(0, 2))];
    assert!(found.clone().take(5).eq(expected), "{:?}", found.collect::<Vec<_>>());
    assert_eq!(items.locate(6).unwrap_err().to_string(), "the manifest has 6 items, none for task 6");
    assert!(Items::new(Manifest::default()).unwrap().locate(0).is_err());
}

#[test]
fn people_call_items_by_where_they_came_from() {
    let ids = items(Unit::Lines, 1, "ids.txt", vec![entry(17, 1, 17), entry(4, 18, 4)]);
    assert_eq!((ids.label(0), ids.label(17)), ("line 1 of ids.txt".to_owned(), "line 18 of ids.txt".to_owned()));
    let book = items(Unit::Lines, 10_000, "book.txt", vec![entry(2, 1, 15_000)]);
    assert_eq!(book.label(0), "lines 1-10000 of book.txt");
    assert_eq!(book.label(1), "lines 10001-15000 of book.txt");
    assert_eq!(items(Unit::Records, 500, "x.csv", vec![entry(0, 1, 500)]).label(0), "records 1-500 of x.csv");
    let big = items(Unit::Bytes, 0, "big.csv", vec![entry(0, 0, 0), entry(2, 4_194_304, 0)]);
    assert_eq!(big.label(1), "bytes from 4194304 of big.csv");
    assert_eq!(big.label(2), "chunk 2 from byte 4194304 of big.csv");
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let images = Entry { names: names(&["2.png", "3.png"]), ..entry(2, 0, 0) };
    let images = items(Unit::Files, 0, "images/", vec![images, Entry { names: names(&["10.png"]), ..entry(0, 0, 0) }]);
    assert_eq!([1, 2].map(|index| images.label(index)), ["images/3.png", "images/10.png"]);
    let shard = Entry { name: "train_1".to_owned(), ..entry(0, 0, 0) };
    let shards = items(Unit::Unspecified, 0, "", vec![shard, entry(0, 0, 0)]);
    assert_eq!([0, 1, 2].map(|index| shards.label(index)), ["train_1", "item 2", "item 3"]);
}

#[test]
fn a_label_of_what_a_peer_made_up_is_a_label() {
    let odd = items(Unit::Records, u64::MAX, "", vec![entry(2, u64::MAX, u64::MAX), entry(1, 0, 0)]);
    assert_eq!(odd.label(1), format!("record {} of ", u64::MAX));
    assert_eq!(odd.label(2), "record 0 of ");
    assert_eq!(items(Unit::Files, 0, "images", vec![entry(2, 0, 0)]).label(1), "file 2 of images");
    assert_eq!(Items::new(Manifest { unit: 99, ..Default::default() }).unwrap().label(u32::MAX), "item 4294967296");
}

#[test]
fn a_manifest_of_too_many_items_is_refused() {
    let manifest = |entries| Items::new(Manifest { entries, ..Default::default() }).unwrap_err().to_string();
    let refused = manifest(vec![entry(0, 0, 0), entry(u32::MAX, 0, 0)]);
    assert_eq!(refused, "entry 1: a piece holds at most 4096 items, not 4294967295");
    assert_eq!(manifest(vec![entry(4_096, 0, 0); 245]), "the manifest has more than 1000000 items");
    let short = Entry { digest: vec![0; 31], ..entry(1, 0, 0) };
    assert!(items(Unit::Unspecified, 0, "", vec![short]).locate(0).is_err());
}

#[test]
fn an_item_shares_its_pieces_memory() {
    let bytes = piece(&[2, 0, 3], b"abcde");
    let item = |place| Piece::item(bytes.clone(), Within { place, items: 3 }).unwrap();
    assert_eq!([item(0), item(1), item(2)], [&b"ab"[..], b"", b"cde"]);
    assert!(bytes.as_ptr_range().contains(&item(2).as_ptr()));
    let whole = Located { entry: 0, digest: Digest([0; 32]), within: None };
    assert_eq!(whole.item(bytes.clone()).unwrap(), bytes);
}

#[test]
fn a_piece_that_does_not_add_up_is_refused() {
    let refused = |bytes: Bytes, place, items| Piece::item(bytes, Within { place, items }).unwrap_err().to_string();
    assert_eq!(refused(piece(&[2, 2], b"abcd"), 0, 3), "a piece holds 2 items, and 3 are expected");
    assert_eq!(refused(piece(&[2, 2], b"abcd"), 2, 2), "the manifest has 2 items, none for task 2");
    assert_eq!(refused(piece(&[2, 3], b"abcd"), 0, 2), "a piece's items have 5 bytes together, and it has 4");
    assert_eq!(refused(piece(&[2, 1], b"abcd"), 0, 2), "a piece's items have 3 bytes together, and it has 4");
    let huge = refused(piece(&[u32::MAX, u32::MAX, 4], b"abcd"), 2, 3);
    assert_eq!(huge, "a piece's items have 8589934594 bytes together, and it has 4");
    assert!(refused(Bytes::from_static(b"\xff"), 0, 1).starts_with("not a piece: "));
    let large = Bytes::from(vec![0; PIECE_BLOB_BYTES_MAX as usize + 1]);
    assert_eq!(refused(large, 0, 1), "a piece has at most 4214848 bytes, not 4214849");
}

#[test]
fn a_ranges_items_are_integers() {
    let range = Range { first: -5, step: 3 };
    assert_eq!([0, 1, 2].map(|index| range.number(index).unwrap()), [-5, -2, 1]);
    let long = Range { first: i64::MAX - 1, step: 1 };
    assert_eq!(long.number(1).unwrap(), i64::MAX);
    assert_eq!(long.number(2).unwrap_err().to_string(), "the range has no integer for task 2");
}

proptest! {
    #[test]
    fn any_bytes_give_an_item_or_an_error(bytes: Vec<u8>, place in 0u32..4, items in 0u32..4) {
        // That it returns is the point.
        drop(Piece::item(bytes.into(), Within { place, items }));
    }

    #[test]
    fn items_are_found_as_a_list_has_them(counts in prop::collection::vec(0u32..5, 0..40)) {
        let entries: Vec<_> = counts.iter().map(|count| entry(*count, 0, 0)).collect();
        let items = items(Unit::Unspecified, 0, "", entries);
        let listed: Vec<(u32, Option<u32>)> = (0..).zip(&counts).flat_map(|(entry, count)| match count {
            0 => vec![(entry, None)],
            count => (0..*count).map(|place| (entry, Some(place))).collect(),
        }).collect();
        prop_assert_eq!(items.count() as usize, listed.len());
        for (index, (entry, place)) in (0..).zip(listed) {
            let found = items.locate(index).unwrap();
            prop_assert_eq!((found.entry, found.within.map(|within| within.place)), (entry, place));
        }
    }
}
