//! An input on its way to a coordinator: its parts are stored while further ones are cut, few of them waiting.
//!
//! How an input is cut it does not know; what is stored and never submitted, the coordinator removes in time.

use std::collections::BTreeSet;
use std::io::{self, Read};

use bytes::Bytes;
use convoke_wire::core::Digest;
use convoke_wire::program::{Entry, Manifest};
use convoke_wire::protocol::CHUNK_BYTES;
use convoke_wire::{BlobClient, Client};
use tokio::sync::mpsc;

use crate::data::digest_of;
use crate::failure::Failure;
use crate::input::{Content, Input, InputError, Part};

/// How many parts may wait to be stored.
const PARTS_MAX: usize = 2;
/// How many chunks of a file may wait to be sent.
const CHUNKS_MAX: usize = 4;

/// An input that is stored.
pub struct Uploaded {
    /// What lists it; it is yet to be stored itself.
    pub manifest: Manifest,
    /// How many items it has.
    pub items: u32,
}

/// What the thread that cuts has to say.
enum Cut {
    Part(Result<(Digest, Part), InputError>),
    End(Box<Input>),
}

/// Stores those parts of an input that the coordinator has not, so that they survive a power cut. `progress` is told how
/// many items are there, as they become more.
pub async fn upload(client: &mut Client, input: Input, progress: impl Fn(u32)) -> Result<Uploaded, Failure> {
    let (cut, mut parts) = mpsc::channel(PARTS_MAX);
    // No thread of the runtime's, whose end would wait for an input that never ends.
    std::thread::spawn(move || cut_up(input, &cut));
    let (mut entries, mut items) = (Vec::new(), 0);
    while let Some(cut) = parts.recv().await {
        match cut {
            Cut::Part(part) => {
                let (digest, part) = part?;
                store(client.blobs(), digest, part.content).await?;
                items += part.entry.items.max(1);
                progress(items);
                entries.push(Entry { digest: digest.0.to_vec(), ..part.entry });
            }
            Cut::End(input) => return Ok(Uploaded { manifest: input.manifest(entries), items }),
        }
    }
    Err(Failure::failed("the thread that reads the input panicked"))
}

/// Cuts an input until its end, or until nobody wants it any more.
fn cut_up(mut input: Input, cut: &mpsc::Sender<Cut>) {
    for part in &mut input {
        let hashed = part.and_then(|part| Ok((digest_of_content(&part.content)?, part)));
        if cut.blocking_send(Cut::Part(hashed)).is_err() {
            return;
        }
    }
    // Whoever gave up after an error is told nothing more.
    drop(cut.blocking_send(Cut::End(Box::new(input))));
}

/// Names a content by what it holds.
pub fn digest_of_content(content: &Content) -> Result<Digest, InputError> {
    if let Content::Bytes(bytes) = content {
        return Ok(digest_of(bytes));
    }
    let read = read_chunks(content, |_| true);
    let read = read.map_err(|source| InputError::Open { path: content.path().to_owned(), source })?;
    Ok(read.expect("all of it is wanted"))
}

/// Stores those of the contents that the coordinator has not, so that they survive a power cut. `progress` is told how many
/// of all are there, as they become more.
pub async fn store_all(
    client: &mut Client,
    contents: &[(Digest, Content)],
    progress: impl Fn(usize),
) -> Result<(), Failure> {
    let digests: Vec<_> = contents.iter().map(|(digest, _)| *digest).collect();
    let missing: BTreeSet<_> = client.blobs().missing(&digests).await?.into_iter().collect();
    for (place, (digest, content)) in contents.iter().enumerate().filter(|(_, (digest, _))| missing.contains(digest)) {
        progress(place);
        put(client.blobs(), *digest, content.clone()).await?;
    }
    Ok(())
}

/// Stores a content, unless it is there already.
pub async fn store(blobs: &mut BlobClient, digest: Digest, content: Content) -> Result<(), Failure> {
    if blobs.missing(&[digest]).await?.is_empty() {
        return Ok(());
    }
    put(blobs, digest, content).await
}

async fn put(blobs: &mut BlobClient, digest: Digest, content: Content) -> Result<(), Failure> {
    match content {
        Content::Bytes(bytes) => Ok(blobs.put_as(digest, bytes, true).await?),
        content => put_read(blobs, digest, content).await,
    }
}

/// Stores what may be too large for memory. It has its digest already, and is read again.
async fn put_read(blobs: &mut BlobClient, digest: Digest, content: Content) -> Result<(), Failure> {
    let path = content.path().to_owned();
    let (chunks, waiting) = mpsc::channel(CHUNKS_MAX);
    let reading =
        tokio::task::spawn_blocking(move || read_chunks(&content, |chunk| chunks.blocking_send(chunk).is_ok()));
    let stored = blobs.put_chunks(digest, waiting, true).await;
    // What the coordinator makes of half a file matters less than why it is half.
    match reading.await.map_err(Failure::failed)? {
        Err(source) => Err(InputError::Open { path, source }.into()),
        Ok(Some(read)) if read != digest => {
            let error = format!("{}: the file changed while it was uploaded", path.display());
            Err(Failure::bad_input(error).hint("submit it again once nothing writes to it"))
        }
        Ok(_) => Ok(stored?),
    }
}

/// Reads a content in chunks and names it; `None` where `take` wanted no more before its end.
fn read_chunks(content: &Content, mut take: impl FnMut(Bytes) -> bool) -> io::Result<Option<Digest>> {
    let mut reader = content.open()?;
    let mut hasher = blake3::Hasher::new();
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        (&mut reader).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        hasher.update(&chunk);
        if chunk.is_empty() {
            return Ok(Some(Digest(*hasher.finalize().as_bytes())));
        }
        if !take(chunk.into()) {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::num::NonZeroU64;
    use std::path::Path;

    use convoke_node::coordinator::{Coordinator, Options, SNAPSHOT_EVERY_BYTES};
    use convoke_wire::CallError;
    use convoke_wire::core::Policy;
    use convoke_wire::items::{Items, PIECE_BYTES_MAX};

    use super::*;
    use crate::input::{self, Chunk};
    use crate::ordered_output::{Arrived, Destination, Ending, OrderedOutput};

    /// A coordinator in this process, without workers.
    async fn coordinator(folder: &Path) -> (Coordinator, Client) {
        let options = Options {
            state: folder.join("state"),
            bind: None,
            nodes: Vec::new(),
            policy: Policy::default(),
            patience: None,
            snapshot_every_bytes: SNAPSHOT_EVERY_BYTES,
            state_max: None,
        };
        let coordinator = Coordinator::start(options).await.unwrap();
        let client = Client::connect(&coordinator.target()).await.unwrap();
        (coordinator, client)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_input_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (coordinator, mut client) = coordinator(folder.path()).await;
        let files = folder.path().join("files");
        fs::create_dir(&files).unwrap();
        let large: Vec<u8> = (0..2 * PIECE_BYTES_MAX + 7).map(|place| (place / 251) as u8).collect();
        for (name, bytes) in [("1", &b"one"[..]), ("2", &large), ("10", b"ten")] {
            fs::write(files.join(name), bytes).unwrap();
        }
        let input = Input::open(&files, input::Cut::Files).unwrap();
        let uploaded = upload(&mut client, input, |_| {}).await.unwrap();
        assert_eq!(uploaded.items, 3);
        let items = Items::new(uploaded.manifest).unwrap();
        // The entries are blobs like results: written in order, each is where it belongs.
        let out = folder.path().join("out");
        let blobs = client.blobs().clone();
        let fetch = move |digest, chunks: mpsc::Sender<Bytes>| {
            let mut blobs = blobs.clone();
            async move { Ok(blobs.get_chunks(digest, u64::MAX, &chunks).await?) }
        };
        let (tell, arrivals) = mpsc::channel(4);
        let digests: Vec<_> = (0..items.count()).map(|index| items.locate(index).unwrap().digest).collect();
        for (index, digest) in (0..3).zip(&digests).rev() {
            let arrived = Arrived::Result(convoke_wire::core::Payload::blob(*digest));
            tell.send((index, arrived)).await.unwrap();
        }
        let output = OrderedOutput::new(3, Destination::file(&out).unwrap(), fetch);
        assert_eq!(output.run(arrivals).await.unwrap(), Ending::Complete { skipped: 0 });
        let written = fs::read(&out).unwrap();
        let place = written.windows(large.len()).position(|part| part[..64] == large[..64] && part == large);
        assert!(place.is_some(), "the large file is there as it was");
        let refused = client.blobs().get_chunks(digests[1], 100, &mpsc::channel(1).0).await;
        assert!(matches!(refused, Err(CallError::BlobTooLarge { bytes_max: 100, .. })), "{refused:?}");
        drop(coordinator);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_changes_meanwhile_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (coordinator, mut client) = coordinator(folder.path()).await;
        let path = folder.path().join("log");
        fs::write(&path, "more than there was").unwrap();
        let content = Content::File { path, bytes: 19 };
        let refused = put(client.blobs(), digest_of(b"what there was"), content).await.unwrap_err();
        assert!(refused.to_string().ends_with("log: the file changed while it was uploaded"), "{refused}");
        drop(coordinator);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_input_that_turns_out_wrong_is_no_upload() {
        let folder = tempfile::tempdir().unwrap();
        let (coordinator, mut client) = coordinator(folder.path()).await;
        let path = folder.path().join("x.csv");
        fs::write(&path, "id\n1\n2,\"x\n").unwrap();
        let chunk = Chunk::Count(NonZeroU64::MIN);
        let cut = input::Cut::Records { chunk, delimiter: b',', header: true };
        let refused = upload(&mut client, Input::open(&path, cut).unwrap(), |_| {}).await.err().unwrap();
        let said = "x.csv: line 3: a record begins here with a quote in it that is never closed";
        assert!(refused.to_string().ends_with(said), "{refused}");
        drop(coordinator);
    }
}
