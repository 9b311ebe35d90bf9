//! Runs a WebAssembly program (WASI) on each of some texts in a cluster's sandboxes, makes one result of all, and prints it.
//!
//! Start `convoke coordinator` and `convoke worker`, build the two programs of `examples/wasm`, which count words, then:
//!
//!     for name in count sum; do rustc --edition 2024 --target wasm32-wasip1 -O examples/wasm/$name.rs; done
//!     cargo run -p convoke-wire --example map_wasm -- count.wasm sum.wasm README.md ARCHITECTURE.md

mod cluster;

use std::error::Error;

use bytes::Bytes;
use convoke_wire::core::{Attempts, JobSpec, MapReduce, Plan};
use convoke_wire::job::{self, Program, WASM};
use convoke_wire::program::Wasm;
use convoke_wire::protocol::BLOB_BYTES_MAX;
use convoke_wire::{Client, Heard};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [map, reduce, texts @ ..] = &words[..] else { return Err("name two modules and some texts".into()) };
    let mut client = cluster::connect().await?;

    // Each text is a task's stdin; a larger one than 4 MiB would better be cut.
    let texts: Vec<Bytes> =
        texts.iter().map(|path| Ok(std::fs::read(path)?.into())).collect::<Result<_, std::io::Error>>()?;
    let input = client.store_items(texts).await?;
    let map = job::map(store(&mut client, map).await?, input);
    let reduce = job::reduce(store(&mut client, reduce).await?, 32);
    let plan = Plan::MapReduce(MapReduce { reduce: Some(reduce), ..map });
    // A sandboxed program changes nothing elsewhere: it may be tried again, and twice at a time.
    let attempts = Attempts { idempotent: true, retries: 2, ..Attempts::default() };
    let id = cluster::new_job()?;
    client.submit(id, &JobSpec { attempts, ..job::spec("words", plan) }, "an example").await?;

    // To follow a job is to hear its events; this one brings a single result in the end.
    let mut following = client.watch(id, true);
    while let Some(heard) = following.next().await? {
        match heard {
            Heard::Event { wall_ms, event } => eprintln!("{wall_ms}: {event}"),
            Heard::Notice(line) => eprintln!("{line}"),
            Heard::History(_) | Heard::Lost => {}
        }
    }
    let mut results = client.results(id);
    while let Some(result) = results.next().await? {
        let Some(digest) = result.result.as_ref().and_then(|payload| payload.as_blob()) else {
            // A small result is in place.
            print!(
                "{}",
                String::from_utf8_lossy(result.result.as_ref().and_then(|payload| payload.as_inline()).unwrap_or(b""))
            );
            continue;
        };
        // A large one is read as it comes.
        let mut reader = client.blob_reader(digest, BLOB_BYTES_MAX);
        while let Some(chunk) = reader.chunk().await? {
            print!("{}", String::from_utf8_lossy(&chunk));
        }
    }
    Ok(())
}

/// Stores a module, and makes a program of it.
async fn store(client: &mut Client, path: &str) -> Result<Program, Box<dyn Error>> {
    let module = client.blobs().put(std::fs::read(path)?.into(), true).await?;
    let wasm = Wasm { module: module.0.to_vec(), arguments: vec![path.to_owned()], ..Wasm::default() };
    Ok(Program::new(WASM, client.payload_of(&wasm).await?))
}
