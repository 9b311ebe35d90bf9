//! Runs a command on a cluster, once for each of some integers, and prints what each wrote, in order.
//!
//! Start `convoke coordinator` and `convoke worker`, then:
//!
//!     cargo run -p convoke-wire --example run_commands -- 1 20
//!
//! Ctrl-C cancels the job.

mod cluster;

use std::error::Error;

use convoke_wire::core::Plan;
use convoke_wire::job::{self, COMMAND, Input, Program};
use convoke_wire::program::{Command, Feed, Range};
use convoke_wire::{Client, Results};

/// The most bytes of a result that is printed.
const BYTES_MAX: u64 = 1 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<i64> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let &[first, last] = &numbers[..] else { return Err("name the first and the last integer".into()) };
    let mut client = cluster::connect().await?;

    // The item takes the place of {} in the command's words.
    let argv = ["sh", "-c", "echo {} squared is $(({} * {})), says $(hostname)"].map(str::to_owned).to_vec();
    let command = client.payload_of(&Command { argv, feed: Feed::Argument.into(), ..Command::default() }).await?;
    let input = Input::range(&Range { first, step: 1 }, u32::try_from(last - first + 1)?);
    let spec = job::spec("squares", Plan::MapReduce(job::map(Program::new(COMMAND, command), input)));
    let id = cluster::new_job()?;
    client.submit(id, &spec, "an example").await?;

    let (mut results, mut canceller) = (client.results(id), client.clone());
    tokio::select! {
        printed = print(&mut client, &mut results) => printed,
        _ = tokio::signal::ctrl_c() => {
            let outcome = canceller.cancel(id).await?;
            Err(format!("interrupted: job {id} {outcome}").into())
        }
    }
}

async fn print(client: &mut Client, results: &mut Results) -> Result<(), Box<dyn Error>> {
    while let Some(task) = results.next().await? {
        match task.result {
            Some(payload) => print!("{}", String::from_utf8_lossy(&client.bytes_of(&payload, BYTES_MAX).await?)),
            None => println!("task {} failed", task.index),
        }
    }
    Ok(())
}
