//! What all examples need: a connection to the coordinator that this user started or logged in at, and an id for a job.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use convoke_wire::Client;
use convoke_wire::channel::{self, Target};
use convoke_wire::core::JobId;
use convoke_wire::tls::book::Book;

/// Connects to `CONVOKE_COORDINATOR`, or to this machine's coordinator, with the credentials in the user's book: those that
/// `convoke coordinator` or `convoke login` put there.
pub async fn connect() -> Result<Client, Box<dyn Error>> {
    let named = std::env::var("CONVOKE_COORDINATOR").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let address = channel::parse(&named)?;
    let configuration = match std::env::var_os("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&std::env::var_os("HOME").ok_or("HOME is not set")?).join(".config"),
    };
    let trust = Arc::new(Book::new(&configuration.join("convoke/clusters")).trust(&address)?);
    Ok(Client::connect(&Target::Address { address, trust }).await?)
}

/// An id that no other job has.
pub fn new_job() -> Result<JobId, Box<dyn Error>> {
    Ok(JobId::from_bits(getrandom::u64()?))
}
