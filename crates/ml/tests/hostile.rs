//! Files from elsewhere: whatever the bytes are, reading them gives a value or an error, never
//! a panic.
//! Valid files are the starting point, since random bytes hardly get past the header's length.
//! It does not know which checks exist.

use convoke_ml::{
    Activation, Architecture, Contribution, Dataset, Head, MergeRule, Mlp, Moments, Start, delta, delta_between, merge,
};
use proptest::prelude::*;

fn model() -> Mlp {
    let mut model = Mlp::uniform_start(&[3, 5, 2], vec!["no".into(), "yes \"\u{e9}\"".into()], 3).unwrap();
    model.metadata_mut().insert("job".into(), "seven".into());
    model
}

fn dataset() -> Dataset {
    Dataset::new(vec![1.0, -2.0, 3.5, 0.0, 5.0, 1e-9], vec![1, 0], 3).unwrap()
}

/// A model of a value that standardises what it is given.
fn regression() -> Mlp {
    let head = Head::Value("price".into());
    let architecture = Architecture { sizes: vec![3, 2, 1], activation: Activation::Tanh, head };
    let mut model = Mlp::start(&architecture, Start::Xavier, 4).unwrap();
    model.standardize(&Moments::of(&values())).unwrap();
    model
}

fn values() -> Dataset {
    Dataset::of_values(vec![1.0, -2.0, 3.5, 0.0, 5.0, 3.5], vec![1e6, -0.25], 3).unwrap()
}

fn read_everything(bytes: &[u8]) {
    if let Ok(model) = Mlp::from_safetensors(bytes) {
        assert_eq!(Mlp::from_safetensors(&model.to_safetensors()).unwrap(), model);
    }
    if let Ok(data) = Dataset::from_safetensors(bytes, None) {
        assert_eq!(Dataset::from_safetensors(&data.to_safetensors(), None).unwrap(), data);
    }
    let good = model().to_safetensors();
    let contributions = [Contribution { delta: &bytes, samples: 1 }, Contribution { delta: &good, samples: 2 }];
    merge(MergeRule::Mean, &good, &contributions, &mut Vec::new()).unwrap();
    let _ = merge(MergeRule::Mean, &bytes, &contributions, &mut Vec::new());
    let _ = merge(MergeRule::Mean, &bytes, &contributions[..1], &mut Vec::new());
    let _ = delta_between(&good, &bytes);
    if let Ok(nothing) = delta_between(&bytes, &bytes) {
        let contributions = [Contribution { delta: &nothing, samples: 1 }];
        let mut version = Vec::new();
        merge(MergeRule::Mean, &bytes, &contributions, &mut version).unwrap();
        assert_eq!(version.len(), bytes.len());
    }
}

/// Tensors of every type, whose bytes count up.
fn of_every_type() -> Vec<u8> {
    let types = [
        "F64", "F32", "F16", "BF16", "I64", "U64", "I32", "U32", "I16", "U16", "I8", "U8", "BOOL", "F8_E4M3", "C64",
        "F4",
    ];
    let bits = |name: &str| match name {
        "C64" => 64,
        "BF16" => 16,
        "BOOL" | "F8_E4M3" => 8,
        other => other[1..].parse().unwrap(),
    };
    let mut end = 0;
    let tensors = types.map(|name| {
        let start = end;
        end += 2 * bits(name) / 8;
        format!(r#""{name}":{{"dtype":"{name}","shape":[2],"data_offsets":[{start},{end}]}}"#)
    });
    let mut file = with_header(&format!("{{{}}}", tensors.join(",")), 0);
    file.extend((0..end).map(|byte| byte as u8));
    file
}

/// A file with this header and `data_bytes` zeros.
fn with_header(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data_bytes, 0);
    file
}

fn valid_files() -> [Vec<u8>; 6] {
    [
        model().to_safetensors(),
        dataset().to_safetensors(),
        delta(&model(), &model()),
        of_every_type(),
        regression().to_safetensors(),
        values().to_safetensors(),
    ]
}

#[test]
fn what_is_written_can_be_read_again() {
    assert_eq!(Mlp::from_safetensors(&model().to_safetensors()).unwrap(), model());
    assert_eq!(Dataset::from_safetensors(&dataset().to_safetensors(), Some(2)).unwrap(), dataset());
    assert_eq!(model().to_safetensors(), model().to_safetensors());
    assert_eq!(Mlp::from_safetensors(&regression().to_safetensors()).unwrap(), regression());
    assert_eq!(Dataset::from_safetensors(&values().to_safetensors(), None).unwrap(), values());
}

#[test]
fn files_of_before_there_were_kinds_are_read() {
    let tensors = r#""layers.0.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"layers.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}"#;
    let of = |activation: &str| {
        let metadata = format!(r#""format":"convoke-mlp-1","layers":"1,2"{activation},"labels":"[\"a\",\"b\"]""#);
        with_header(&format!(r#"{{"__metadata__":{{{metadata}}},{tensors}}}"#), 16)
    };
    let read = Mlp::from_safetensors(&of(r#","activation":"relu""#)).unwrap();
    assert_eq!(read, Mlp::zeros(Architecture::classifier(&[1, 2], vec!["a".into(), "b".into()])).unwrap());
    assert_eq!(Mlp::from_safetensors(&of("")).unwrap(), read);
}

#[test]
fn merging_leaves_the_standardisation_as_it_is() {
    let base = regression();
    let mut trained = base.clone();
    trained.parameters_mut().iter_mut().for_each(|value| *value += 0.5);
    let contributions = [Contribution { delta: &delta(&trained, &base), samples: 3 }];
    let mut version = Vec::new();
    merge(MergeRule::Mean, &base.to_safetensors(), &contributions, &mut version).unwrap();
    assert_eq!(Mlp::from_safetensors(&version).unwrap(), trained);
}

#[test]
fn a_file_of_every_type_is_merged_with_no_change() {
    let base = of_every_type();
    let nothing = delta_between(&base, &base).unwrap();
    let mut version = Vec::new();
    let contributions = [Contribution { delta: &nothing, samples: 7 }];
    merge(MergeRule::Mean, &base, &contributions, &mut version).unwrap();
    assert!(version == base);
}

/// The format's own library reads the files, and what they say is documented.
#[test]
fn the_safetensors_library_reads_a_model() {
    let bytes = model().to_safetensors();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    let entry = |key: &str| metadata[key].as_str();
    assert_eq!((entry("format"), entry("layers"), entry("activation")), ("convoke-mlp-1", "3,5,2", "relu"));
    assert_eq!((entry("labels"), entry("job")), ("[\"no\",\"yes \\\"é\\\"\"]", "seven"));
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("layers.1.weight").unwrap().shape(), [5, 2]);
    assert_eq!(file.tensor("layers.1.bias").unwrap().shape(), [2]);
    let first = file.tensor("layers.0.weight").unwrap().data()[..4].try_into().unwrap();
    assert_eq!(f32::from_le_bytes(first), model().parameters()[0]);
}

#[test]
fn lies_are_called_by_name() {
    let error = |bytes: &[u8]| Mlp::from_safetensors(bytes).unwrap_err().to_string();
    assert_eq!(error(&[]), "0 bytes are too few for a safetensors file");
    assert_eq!(error(&with_header("{}", 0)), "metadata has no `format`");
    assert_eq!(error(&dataset().to_safetensors()), "metadata has no `format`");
    assert_eq!(error(&delta(&model(), &model())), "metadata `format` is `convoke-delta-1`, expected convoke-mlp-1");
    let text = |layers: &str| {
        let metadata = format!(r#""format":"convoke-mlp-1","activation":"relu","labels":"[]","layers":"{layers}""#);
        with_header(&format!(r#"{{"__metadata__":{{{metadata}}}}}"#), 0)
    };
    assert_eq!(error(&text("16,x")), "metadata `layers` is `16,x`, expected layer sizes such as `16,24,26`");
    assert_eq!(error(&text("16,99999999999999")), "the layers have more than 268435456 parameters");
    assert_eq!(error(&text("16")), "1 layer sizes, expected 2 to 65");
    assert_eq!(error(&text(&"1,".repeat(500_000))), "66 layer sizes, expected 2 to 65");
    let mut negative = regression().to_safetensors();
    let end = negative.len();
    negative[end - 4..].copy_from_slice(&(-1.0f32).to_le_bytes());
    assert_eq!(error(&negative), "tensor `target.scale` holds -1 at 0, expected more than 0");
    let swapped = |from: &str, to: &str| {
        let file = regression().to_safetensors();
        let header_bytes = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header = str::from_utf8(&file[8..8 + header_bytes]).unwrap().replace(from, to);
        let mut changed = with_header(&header, 0);
        changed.extend(&file[8 + header_bytes..]);
        error(&changed)
    };
    assert_eq!(swapped("tanh", "sine"), "metadata `activation` is `sine`, expected relu or tanh");
    assert_eq!(swapped("regression", "poetry"), "metadata `task` is `poetry`, expected classification or regression");
    assert_eq!(swapped("regression", "classification"), "metadata has no `labels`");
    assert_eq!(swapped("features.mean", "features.men"), "tensor `features.mean` is missing");
    let overflow = r#"{"features":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}}"#;
    let error = |bytes: &[u8]| Dataset::from_safetensors(bytes, None).unwrap_err().to_string();
    assert!(error(&with_header(overflow, 8)).starts_with("unreadable safetensors header: overflow"));
    let empty = r#"{"features":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},"labels":{"dtype":"U32","shape":[0],"data_offsets":[0,0]}}"#;
    assert_eq!(error(&with_header(empty, 0)), "a data set of 0 samples with 3 features is empty");
    let mut infinite = dataset().to_safetensors();
    let end = infinite.len();
    infinite[end - 12..end - 8].copy_from_slice(&f32::INFINITY.to_le_bytes());
    assert_eq!(error(&infinite), "tensor `features` holds inf at 5");
    let error = Dataset::from_safetensors(&dataset().to_safetensors(), Some(1)).unwrap_err();
    assert_eq!(error.to_string(), "sample 0 has label 1, expected less than 1");
    let error = Dataset::from_safetensors(&values().to_safetensors(), Some(1)).unwrap_err();
    assert_eq!(error.to_string(), "the data set holds values to predict, and the model predicts classes");
    let error = Dataset::of_values(vec![1.0], vec![f32::NAN], 1).unwrap_err();
    assert_eq!(error.to_string(), "tensor `targets` holds NaN at 0");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_everything(&bytes);
    }

    #[test]
    fn random_headers_never_panic(header in r#"[\{\}\[\]":,a-zA-Z0-9_ ]{0,80}"#, data_bytes in 0..20usize) {
        read_everything(&with_header(&header, data_bytes));
    }

    #[test]
    fn mutated_files_never_panic(
        which in 0..6usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = valid_files()[which].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        read_everything(&bytes);
    }

    #[test]
    fn numbers_in_headers_never_panic(number in prop_oneof![Just(u64::MAX), Just(0), any::<u64>(), 0..100u64], at in 0..9usize) {
        for file in valid_files() {
            let header_bytes = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            let header = String::from_utf8(file[8..8 + header_bytes].to_vec()).unwrap();
            let mut position = 0;
            let changed: String = header.split_inclusive(['[', ',', ']', '"']).map(|part| {
                let digits = part.len() > 1 && part.starts_with(|c: char| c.is_ascii_digit());
                position += usize::from(digits);
                let last = &part[part.len() - 1..];
                if digits && position == at + 1 { format!("{number}{last}") } else { part.to_string() }
            }).collect();
            read_everything(&with_header(&changed, file.len() - 8 - header_bytes));
        }
    }
}
