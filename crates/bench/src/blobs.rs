//! Blobs over TLS: a client's bytes to a coordinator's disk and back, each blob checked against its digest on both sides.
//!
//! Nothing is synced: what a disk makes of that is another matter. The baseline is the same bytes over a bare TCP
//! connection on loopback, in the same run.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use convoke_wire::core::Digest;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::figures::{Table, percentile};

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How large a blob is, in MiB
    #[arg(long, default_value_t = 256)]
    mib: usize,
    /// How often it is sent each way
    #[arg(long, default_value_t = 7)]
    runs: u32,
    /// The folder whose disk is used [default: this program's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Medians, in 10^9 bytes a second.
#[derive(Debug, Serialize)]
pub struct Figures {
    tcp: f64,
    put: f64,
    get: f64,
}

/// Sends blobs both ways.
pub async fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    let cluster = Cluster::start(arguments.dir.as_deref())?;
    let mut client = cluster.client().await?;
    let bytes = arguments.mib << 20;
    let (mut tcp, mut put, mut get) = (Vec::new(), Vec::new(), Vec::new());
    let rate = |took: Duration| bytes as f64 / took.as_secs_f64() / 1e9;
    for run in 0..arguments.runs {
        // Others each time, so that nothing is there already.
        let blob: Vec<u8> = (0..bytes).map(|place| ((place as u64 * 0x9e37) >> 7) as u8 ^ run as u8).collect();
        let blob = Bytes::from(blob);
        tcp.push(rate(over_tcp(blob.clone())?));
        // Whoever uploads knows the digests: it has asked which blobs are missing.
        let digest = Digest(*blake3::hash(&blob).as_bytes());
        let began = Instant::now();
        client.blobs().put_as(digest, blob.clone(), false).await?;
        put.push(rate(began.elapsed()));
        let began = Instant::now();
        let came = client.blobs().get(digest, bytes as u64).await?;
        get.push(rate(began.elapsed()));
        ensure!(came == blob, "what came back is something else");
    }
    let [tcp, put, get] = [tcp, put, get].map(|rates| percentile(rates, 0.5));
    Ok(Figures { tcp, put, get })
}

/// How long the bytes take over a bare connection.
fn over_tcp(bytes: Bytes) -> anyhow::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let length = bytes.len();
    let began = Instant::now();
    let sending = std::thread::spawn(move || TcpStream::connect(address)?.write_all(&bytes));
    let (mut buffer, mut read) = (vec![0; 1 << 20], 0);
    let mut stream = listener.accept()?.0;
    while read < length {
        match stream.read(&mut buffer)? {
            0 => break,
            count => read += count,
        }
    }
    let took = began.elapsed();
    ensure!(read == length && sending.join().is_ok_and(|sent| sent.is_ok()), "the connection broke");
    Ok(took)
}

impl Table for Figures {
    fn table(&self) -> String {
        let Self { tcp, put, get } = self;
        format!(
            "bare TCP on loopback  {tcp:.2} GB/s\n\
             put over TLS          {put:.2} GB/s\n\
             get over TLS          {get:.2} GB/s"
        )
    }
}
