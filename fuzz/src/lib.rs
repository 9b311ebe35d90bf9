//! What is fuzzed: bytes from elsewhere, each by whoever reads them. Reading ends with a value or an error, never with a
//! panic; and what was read can be written and read again.
//!
//! The workspace's tests run these functions over the corpus, so that they build and hold without a fuzzer, too.

use convoke_ml::rows::{self, Inputs, LabelColumn, Layout};
use convoke_ml::tensor_file::TensorFile;
use convoke_ml::{Contribution, Dataset, MergeRule, Mlp, delta_between, merge};
use convoke_wire::session::{CoordinatorFrame, WorkerFrame};
use convoke_wire::tls::{JoinToken, Subject};
use convoke_wire::v1;
use prost::Message;

/// Frames of a session, as either side hears them.
pub fn session_messages(bytes: &[u8]) {
    if let Ok(frame) = v1::WorkerFrame::decode(bytes)
        && let Ok(frame) = WorkerFrame::try_from(frame)
    {
        let again = v1::WorkerFrame::from(frame).encode_to_vec();
        let again = v1::WorkerFrame::decode(&again[..]).expect("what we write we can read");
        WorkerFrame::try_from(again).expect("what was sound still is");
    }
    if let Ok(frame) = v1::CoordinatorFrame::decode(bytes)
        && let Ok(frame) = CoordinatorFrame::try_from(frame)
    {
        let again = v1::CoordinatorFrame::from(frame).encode_to_vec();
        let again = v1::CoordinatorFrame::decode(&again[..]).expect("what we write we can read");
        CoordinatorFrame::try_from(again).expect("what was sound still is");
    }
}

/// Rows of numbers. The first two bytes say how they lie.
pub fn data_rows(bytes: &[u8]) {
    let [delimiter, label, rows @ ..] = bytes else { return };
    let delimiter = b", ;\t"[usize::from(*delimiter) % 4];
    let label = match *label % 3 {
        0 => LabelColumn::First,
        1 => LabelColumn::Last,
        _ => LabelColumn::Named("label".to_owned()),
    };
    let layout = Layout { delimiter, label, drop: vec!["id".to_owned()] };
    if let Ok(rows) = rows::read("rows", rows, &layout) {
        assert_eq!(rows.features().len(), rows.samples() * rows.width());
        assert_eq!(rows.labels().count(), rows.samples());
    }
    let inputs = Inputs { width: 2, names: vec!["x".to_owned(), "y".to_owned()] };
    drop(rows::read_for("rows", rows, &layout, &inputs));
    if let Ok(rows) = rows::read_unlabelled("rows", rows, &layout, &inputs) {
        assert_eq!(rows.features.len(), rows.samples * inputs.width);
    }
}

/// Files of tensors: models, data sets and deltas.
pub fn safetensors(bytes: &[u8]) {
    drop(TensorFile::from_bytes(bytes));
    if let Ok(model) = Mlp::from_safetensors(bytes) {
        assert_eq!(Mlp::from_safetensors(&model.to_safetensors()).expect("what we write we can read"), model);
    }
    drop(Dataset::from_safetensors(bytes, Some(2)));
    let base = model().to_safetensors();
    let contributions = [Contribution { delta: &bytes, samples: 1 }];
    drop(merge(MergeRule::Mean, &base, &contributions, &mut Vec::new()));
    drop(merge(MergeRule::Mean, &bytes, &contributions, &mut Vec::new()));
    drop(delta_between(&base, &bytes));
    if let Ok(nothing) = delta_between(&bytes, &bytes) {
        let contributions = [Contribution { delta: &nothing, samples: 1 }];
        merge(MergeRule::Mean, &bytes, &contributions, &mut Vec::new()).expect("no change can be merged");
    }
}

/// The model that the corpus's files are of.
pub fn model() -> Mlp {
    Mlp::uniform_start(&[2, 3, 2], vec!["no".to_owned(), "yes".to_owned()], 1).expect("sizes that fit")
}

/// Join tokens, and what certificates say of their holders.
pub fn tokens(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    if let Ok(subject) = text.parse::<Subject>() {
        assert_eq!(subject.to_string().parse(), Ok(subject));
    }
}
