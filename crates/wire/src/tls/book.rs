//! The user's book of clusters: for each, credentials, and the addresses where its coordinator was met.
//!
//! A folder for each cluster, named by the first digits of its authority's digest: `user.pem`, and `addresses`, one a line.
//! An address that is in the book is not believed to be another cluster's, as with the hosts that ssh knows.

use std::fs;
use std::path::{Path, PathBuf};

use convoke_core::Digest;

use super::credentials::{Credentials, CredentialsError, read_private, write_private};
use super::handshake::Trust;
use super::verify::Expected;

/// How many digits of an authority's digest name its folder.
const DIGITS: usize = 16;
const USER: &str = "user.pem";
const ADDRESSES: &str = "addresses";
/// How many addresses of a cluster are remembered; the oldest go first.
const ADDRESSES_MAX: usize = 16;

/// The book.
#[derive(Clone, Debug)]
pub struct Book {
    folder: PathBuf,
}

/// A cluster in it.
struct Entry {
    credentials: Credentials,
    addresses: Vec<String>,
}

impl Book {
    /// The one in a folder, which need not be there.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Whom to believe at an address, and what to show there: the cluster that was met there before, or else any that the
    /// user has credentials for.
    pub fn trust(&self, address: &str) -> Result<Trust, CredentialsError> {
        let entries = self.entries()?;
        let met = entries.iter().find(|entry| entry.addresses.iter().any(|known| known == address));
        Ok(match met {
            Some(entry) => {
                Trust::new(Expected::Authority(entry.credentials.authority()), vec![entry.credentials.clone()])
            }
            None => Trust::known(entries.into_iter().map(|entry| entry.credentials).collect()),
        })
    }

    /// Whom to believe who dials: any that the user has credentials for.
    pub fn trust_any(&self) -> Result<Trust, CredentialsError> {
        Ok(Trust::known(self.entries()?.into_iter().map(|entry| entry.credentials).collect()))
    }

    /// Where a cluster's credentials are.
    pub fn file(&self, authority: Digest) -> PathBuf {
        self.entry(authority).join(USER)
    }

    /// Keeps credentials, and where their cluster's coordinator is from now on.
    pub fn record(&self, credentials: &Credentials, addresses: &[String]) -> Result<(), CredentialsError> {
        credentials.save(&self.file(credentials.authority()))?;
        for folder in self.folders()? {
            let kept: Vec<_> =
                read_addresses(&folder)?.into_iter().filter(|known| !addresses.contains(known)).collect();
            if folder == self.entry(credentials.authority()) {
                let all: Vec<_> = addresses.iter().cloned().chain(kept).take(ADDRESSES_MAX).collect();
                write_addresses(&folder, &all)?;
            } else if folder.join(ADDRESSES).exists() {
                write_addresses(&folder, &kept)?;
            }
        }
        Ok(())
    }

    fn entry(&self, authority: Digest) -> PathBuf {
        self.folder.join(&authority.to_string()[..DIGITS])
    }

    fn folders(&self) -> Result<Vec<PathBuf>, CredentialsError> {
        let fail = |source| CredentialsError::File { doing: "list", path: self.folder.clone(), source };
        match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => {
                let mut folders: Vec<_> = entries
                    .map_err(fail)?
                    .map(|entry| entry.map(|entry| entry.path()).map_err(fail))
                    .collect::<Result<_, _>>()?;
                // Whatever else lies there is no cluster.
                folders.retain(|folder| folder.is_dir());
                folders.sort();
                Ok(folders)
            }
        }
    }

    fn entries(&self) -> Result<Vec<Entry>, CredentialsError> {
        let mut entries = Vec::new();
        for folder in self.folders()? {
            if let Some(credentials) = Credentials::load(&folder.join(USER))? {
                entries.push(Entry { credentials, addresses: read_addresses(&folder)? });
            }
        }
        Ok(entries)
    }
}

fn read_addresses(folder: &Path) -> Result<Vec<String>, CredentialsError> {
    let text = read_private(&folder.join(ADDRESSES))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

fn write_addresses(folder: &Path, addresses: &[String]) -> Result<(), CredentialsError> {
    let text: String = addresses.iter().flat_map(|address| [address.as_str(), "\n"]).collect();
    write_private(&folder.join(ADDRESSES), text.as_bytes())
}
