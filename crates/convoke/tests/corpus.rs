//! The fuzz targets over their corpus, and over copies of it that a seeded generator has damaged.
//!
//! `UPDATE_EXPECT=1 cargo test -p convoke --test corpus` writes the corpus anew. No fuzzer is needed here, and none is built.

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use convoke_ml::{Dataset, delta};
use convoke_wire::core::event::{Completion, Failure, Metrics, Timing};
use convoke_wire::core::message::{FromWorker, Held, Hello, ToWorker};
use convoke_wire::core::{
    Ability, Digest, Identity, JobId, LeaseId, Payload, Resources, Role, Split, StageNumber, TaskId, Term, TokenId,
    WorkerId,
};
use convoke_wire::seen::Seen;
use convoke_wire::session::{CoordinatorFrame, WorkerFrame};
use convoke_wire::tls::token::Secret;
use convoke_wire::tls::{JoinToken, Subject};
use convoke_wire::v1;
use prost::Message;

/// Something that reads bytes.
type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 4] = [
    ("session_messages", targets::session_messages),
    ("data_rows", targets::data_rows),
    ("safetensors", targets::safetensors),
    ("tokens", targets::tokens),
];
/// How many damaged copies there are of each file.
const COPIES: usize = 2_000;
/// How much is damaged in one.
const CUTS_MAX: usize = 4;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// The files of a target, by name.
fn files(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<_> =
        fs::read_dir(corpus(target)).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

/// Draws numbers: SplitMix64 (Steele, Lea and Flood 2014).
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end.max(1) as u64) as usize
    }

    /// A copy with some of its bytes changed, taken out, doubled or cut off.
    fn damaged(&mut self, file: &[u8]) -> Vec<u8> {
        const TELLING: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b'-'];
        let mut copy = file.to_vec();
        for _ in 0..=self.below(CUTS_MAX) {
            let place = self.below(copy.len());
            match self.below(6) {
                _ if copy.is_empty() => copy.push(TELLING[self.below(TELLING.len())]),
                0 => copy[place] ^= 1 << self.below(8),
                1 => copy[place] = TELLING[self.below(TELLING.len())],
                2 => drop(copy.remove(place)),
                3 => copy.insert(place, TELLING[self.below(TELLING.len())]),
                4 => copy.truncate(place),
                _ => {
                    let end = place + self.below(copy.len() - place);
                    let part = copy[place..end].to_vec();
                    copy.splice(place..place, part);
                }
            }
        }
        copy
    }
}

#[test]
fn whatever_is_read_ends_with_a_value_or_an_error() {
    for (name, target) in TARGETS {
        let files = files(name);
        assert!(files.len() >= 5, "{name} has a corpus");
        for (place, (path, file)) in files.iter().enumerate() {
            target(file);
            let mut draws = Draws(place as u64);
            for copy in 0..COPIES {
                let damaged = draws.damaged(file);
                let read = std::panic::catch_unwind(|| target(&damaged));
                assert!(read.is_ok(), "copy {copy} of {}: {damaged:?}", path.display());
            }
        }
    }
}

/// Some of the corpus is sound: otherwise nothing is known of what lies behind the first check.
#[test]
fn the_corpus_has_sound_files() {
    let sound = |target: &str, is_sound: fn(&[u8]) -> bool| {
        let files = files(target);
        let sound = files.iter().filter(|(_, file)| is_sound(file)).count();
        assert!((1..files.len()).contains(&sound), "{target}: {sound} of {}", files.len());
    };
    sound("session_messages", |bytes| {
        v1::WorkerFrame::decode(bytes).is_ok_and(|frame| WorkerFrame::try_from(frame).is_ok())
    });
    sound("safetensors", |bytes| convoke_ml::Mlp::from_safetensors(bytes).is_ok());
    sound("tokens", |bytes| std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<JoinToken>().is_ok()));
}

#[test]
fn the_corpus_is_what_is_written_here() {
    let anew = std::env::var_os("UPDATE_EXPECT").is_some();
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let path = corpus(target).join(name);
        if anew {
            fs::create_dir_all(corpus(target)).expect("a folder");
            fs::write(&path, bytes).expect("a file");
        }
        assert!(fs::read(&path).is_ok_and(|found| found == bytes), "{} is another", path.display());
    };
    for (name, bytes) in frames() {
        write("session_messages", name, &bytes);
    }
    for (name, rows) in [
        ("comma_first", &b"\0\0b,1,2\na,3,4\n"[..]),
        ("comma_header_last", b"\0\x01x,y,label\n1,2,a\r\n3e-4,-.5,b"),
        ("named_label", b"\0\x02id,x,label,y\n7,1,a,2\n8,3,b,4\n"),
        ("blanks", b"\x01\x01 1  2 a\n\n3 4 b\n"),
        ("tabs", b"\x03\0a\t1\t2\n"),
        ("semicolons_quoted", b"\x02\0\"a;b\";1;2\n"),
        ("unlabelled", b"\0\x01x,y\n1,2\n"),
        ("not_numbers", b"\0\0a,nan,inf\nb,1e999,0x1\n"),
        ("ragged", b"\0\0a,1,2\nb,1\n,,,\n"),
        ("not_text", b"\0\0\xff\xfe,1,\0\n"),
        ("empty", b"\0\0"),
    ] {
        write("data_rows", name, rows);
    }
    let model = targets::model();
    let data = Dataset::new(vec![1.0, 2.0, 3.0, 4.0], vec![0, 1], 2).expect("a data set");
    for (name, bytes) in [
        ("model", model.to_safetensors()),
        ("data", data.to_safetensors()),
        ("delta", delta(&model, &model)),
        ("no_header", b"{}".to_vec()),
        ("header_of_2_gb", [&(1_u64 << 31).to_le_bytes()[..], b"{}"].concat()),
        ("header_of_all", [&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
        ("nested", header(&"{\"a\":".repeat(500))),
        ("backwards", header(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#)),
        ("overflow", header(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#)),
    ] {
        write("safetensors", name, &bytes);
    }
    let token = JoinToken { id: TokenId::from_bits(7), secret: Secret([3; 16]), authority: Digest([5; 32]) };
    let identity =
        Identity { role: Role::Client, commands: true, token: token.id, serial: 9, name: "Anns Gerät 3".to_owned() };
    let (token, subject) = (token.to_string(), Subject::Member(identity).to_string());
    for (name, text) in [
        ("token", &token[..]),
        ("with_blanks", &format!("  {token}\n")),
        ("cut", &token[..60]),
        ("another_version", &token.replace("cvk1", "cvk2")),
        ("padded", &format!("{token}==")),
        ("prefix", "cvk1"),
        ("subject", &subject),
        ("coordinator", "convoke://coordinator"),
        ("subject_escapes", "convoke://admin/0/18446744073709551615/%F0%9F%98%80%2"),
    ] {
        write("tokens", name, text.as_bytes());
    }
}

/// A file with this header and 16 bytes of data.
fn header(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &[0; 16]].concat()
}

/// Frames of both sides, and what is none.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let blob = Payload::blob(Digest([9; 32]));
    let task = TaskId { job: JobId::from_bits(1), stage: StageNumber(2), index: 3 };
    let lease = LeaseId { term: Term(1), number: 2 };
    let ability = Ability::new("train").expect("a name");
    let hello = Hello {
        worker: WorkerId(7),
        name: "ann".to_owned(),
        slots: 2,
        abilities: vec![ability.clone()],
        profile: "profile".to_owned(),
        hardware: "8 cores".to_owned(),
        holding: vec![Held {
            task,
            ability: Ability::new("train").unwrap(),
            program: blob.clone(),
            base: blob.clone(),
            input: blob.clone(),
            split: Split::Entries,
        }],
        draining: false,
        resources: Resources::default(),
    };
    let completion = Completion {
        result: blob.clone(),
        samples: 5,
        metrics: Metrics::default(),
        timing: Timing::default(),
        ..Completion::default()
    };
    let said = |message| v1::WorkerFrame::from(WorkerFrame::Message(message)).encode_to_vec();
    let told = |message| v1::CoordinatorFrame::from(CoordinatorFrame::Message(message)).encode_to_vec();
    let hello = v1::WorkerFrame::from(WorkerFrame::Hello(hello, Seen::default())).encode_to_vec();
    vec![
        ("hello_cut", hello[..hello.len() / 2].to_vec()),
        ("hello", hello),
        ("done", said(FromWorker::Done { lease, completion })),
        ("failed", said(FromWorker::Failed { lease, failure: Failure::of("no such file") })),
        ("rejected", said(FromWorker::Rejected { lease })),
        ("blob", v1::WorkerFrame::from(WorkerFrame::Blob(vec![1, 2, 3])).encode_to_vec()),
        ("welcome", told(ToWorker::Welcome { term: Term(1), name: "ann".to_owned(), kept: vec![(task, lease)] })),
        ("revoke", told(ToWorker::Revoke { lease })),
        ("nothing", Vec::new()),
        ("nested", [vec![0x0b; 2_000], vec![0x0c; 2_000]].concat()),
        ("long_length", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]),
    ]
}
