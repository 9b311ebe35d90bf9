//! Predicts rows by a model on a cluster, a thousand rows a task, and prints a line for each row, in order.
//!
//! Start `convoke coordinator` and `convoke worker`, make a model with the example `train`, then:
//!
//!     printf '0.5 -0.5\n0.5 0.5\n' | cargo run -p convoke-wire --example predict -- quadrants.safetensors

mod cluster;

use std::error::Error;
use std::io::{Write, stdin, stdout};

use bytes::Bytes;
use convoke_wire::core::{MapReduce, Payload, Plan};
use convoke_wire::job::{self, PREDICT, Program};
use convoke_wire::program::{self, Predict};

const ROWS: usize = 1_000;
const BYTES_MAX: u64 = 1 << 24;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name a model")?;
    let mut client = cluster::connect().await?;
    let base = Payload::blob(client.blobs().put(std::fs::read(path)?.into(), true).await?);

    // An item is the features of its rows, one row after the other, each a little-endian f32.
    let mut rows = Vec::new();
    for line in stdin().lines() {
        let row = line?.split_whitespace().map(str::parse::<f32>).collect::<Result<Vec<_>, _>>()?;
        rows.push(row.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
    }
    let input = client.store_items(rows.chunks(ROWS).map(|rows| Bytes::from(rows.concat()))).await?;
    let predict = Program::new(PREDICT, program::inline(&Predict { probabilities: false }));
    let plan = Plan::MapReduce(MapReduce { base, ..job::map(predict, input) });
    let id = cluster::new_job()?;
    client.submit(id, &job::spec("predictions", plan), "an example").await?;

    let mut results = client.results(id);
    while let Some(task) = results.next().await? {
        let lines = task.result.ok_or_else(|| format!("task {} of job {id} failed", task.index))?;
        stdout().write_all(&client.bytes_of(&lines, BYTES_MAX).await?)?;
    }
    Ok(())
}
