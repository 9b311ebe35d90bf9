//! A task's part of the input: the entry, item, integer or group of results that its place stands for.
//!
//! It fetches and cuts; what is done with a piece it does not know. Manifests and pieces that were read last are kept, since
//! neighbouring tasks need the same ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use convoke_core::message::Assignment;
use convoke_core::{Digest, Form, Payload, Split};
use convoke_wire::items::Items;
use convoke_wire::program::{self, MANIFEST_BYTES_MAX, RESULTS_PAGE_BYTES_MAX, ResultsPage};

use super::ExecuteError;
use crate::cache::Cache;
use crate::lists::covering;

/// How many inputs are kept, read.
const INPUTS_MAX: usize = 4;
/// The most bytes of the results that a task of a reduction reads, all together.
const PARTS_BYTES_MAX: usize = 1 << 30;
/// How many pages are kept, read.
const PAGES_MAX: usize = 8;

/// What a task works on.
pub(super) enum Input {
    /// A blob of its own.
    Entry {
        digest: Digest,
        bytes: Bytes,
        /// Its name, for people: a file's.
        name: String,
        /// How many samples it is said to have.
        samples: u64,
    },
    /// An item, and what stands before each.
    Item { header: Bytes, item: Bytes },
    /// An integer.
    Number(i64),
    /// Results of the stage before, in order.
    Parts(Vec<Bytes>),
}

impl Input {
    /// What it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Entry { .. } => "an entry of a manifest",
            Self::Item { .. } => "an item",
            Self::Number(_) => "an integer",
            Self::Parts(_) => "results",
        }
    }
}

/// The inputs of the stages that a worker is at.
pub(super) struct Inputs {
    cache: Arc<Cache>,
    inputs: Mutex<Recent<(Payload, Split), Read>>,
    pages: Mutex<Recent<Digest, ResultsPage>>,
}

/// An input, read.
enum Read {
    Entries(program::Manifest),
    Items {
        items: Items,
        header: Bytes,
    },
    Range(program::Range),
    /// The pages, each with the place of its first result; and what stands in the list itself, with the place of the first.
    Results {
        pages: Vec<(u32, Digest)>,
        rest: (u32, ResultsPage),
        fan_in: u32,
    },
}

impl Inputs {
    pub(super) fn new(cache: Arc<Cache>) -> Self {
        let (inputs, pages) = (Recent::new(INPUTS_MAX), Recent::new(PAGES_MAX));
        Self { cache, inputs: Mutex::new(inputs), pages: Mutex::new(pages) }
    }

    /// The task's part.
    pub(super) async fn of(&self, assignment: &Assignment) -> Result<Input, ExecuteError> {
        let index = assignment.task.index;
        match &*self.read(assignment).await? {
            Read::Entries(manifest) => {
                let digest = manifest.blob(index)?;
                let bytes = self.get(digest).await?;
                let entry = manifest.entries.get(index as usize);
                let (name, samples) = entry.map(|entry| (entry.name.clone(), entry.samples)).unwrap_or_default();
                Ok(Input::Entry { digest, bytes, name, samples })
            }
            Read::Items { items, header } => {
                let located = items.locate(index)?;
                let item = located.item(self.get(located.digest).await?)?;
                Ok(Input::Item { header: header.clone(), item })
            }
            Read::Range(range) => Ok(Input::Number(range.number(index)?)),
            Read::Results { pages, rest: (start, rest), fan_in } => {
                let first = index.saturating_mul(*fan_in);
                let wanted = first..first.saturating_add(*fan_in);
                let mut parts = Vec::new();
                for (start, digest) in covering(pages, wanted.start, wanted.end) {
                    self.add_parts(start, &*self.page(digest).await?, &wanted, &mut parts).await?;
                }
                self.add_parts(*start, rest, &wanted, &mut parts).await?;
                Ok(Input::Parts(parts))
            }
        }
    }

    /// Of the results on a page, whose first one has the place `start`, those that are wanted.
    async fn add_parts(
        &self,
        start: u32,
        page: &ResultsPage,
        wanted: &std::ops::Range<u32>,
        parts: &mut Vec<Bytes>,
    ) -> Result<(), ExecuteError> {
        for (_, result) in (start..).zip(&page.results).filter(|(place, _)| wanted.contains(place)) {
            // They are in memory twice when the task begins.
            if parts.iter().map(Bytes::len).sum::<usize>() > PARTS_BYTES_MAX {
                return Err(ExecuteError::PartsTooLarge { bytes_max: PARTS_BYTES_MAX });
            }
            parts.push(match result.brought()?.result.form() {
                Form::Inline(bytes) => Bytes::from_owner(bytes.clone()),
                Form::Blob(digest) => self.get(*digest).await?,
            });
        }
        Ok(())
    }

    async fn read(&self, assignment: &Assignment) -> Result<Arc<Read>, ExecuteError> {
        let key = (assignment.input.clone(), assignment.split);
        if let Some(read) = locked(&self.inputs).get(&key) {
            return Ok(read);
        }
        let bytes = match assignment.input.form() {
            Form::Inline(bytes) => Bytes::from_owner(bytes.clone()),
            Form::Blob(digest) => self.get_at_most(*digest, MANIFEST_BYTES_MAX).await?,
        };
        let read = match assignment.split {
            Split::Entries => Read::Entries(program::read_bytes("manifest", &bytes)?),
            Split::Items => {
                let mut manifest: program::Manifest = program::read_bytes("manifest", &bytes)?;
                let header = Bytes::from(std::mem::take(&mut manifest.header));
                Read::Items { items: Items::new(manifest)?, header }
            }
            Split::Range => Read::Range(program::read_bytes("range", &bytes)?),
            Split::Groups { fan_in } => {
                let mut results: program::Results = program::read_bytes("list of results", &bytes)?;
                let (pages, rest) = (results.starts()?, results.rest.take().unwrap_or_default());
                let before = results.pages.iter().fold(0, |sum: u32, page| sum.saturating_add(page.results));
                Read::Results { pages, rest: (before, rest), fan_in }
            }
        };
        Ok(locked(&self.inputs).insert(key, read))
    }

    async fn page(&self, digest: Digest) -> Result<Arc<ResultsPage>, ExecuteError> {
        if let Some(page) = locked(&self.pages).get(&digest) {
            return Ok(page);
        }
        let page = program::read_bytes("page of results", &self.get_at_most(digest, RESULTS_PAGE_BYTES_MAX).await?)?;
        Ok(locked(&self.pages).insert(digest, page))
    }

    async fn get(&self, digest: Digest) -> Result<Bytes, ExecuteError> {
        self.cache.get(digest).await.map_err(ExecuteError::Fetch)
    }

    async fn get_at_most(&self, digest: Digest, bytes_max: u64) -> Result<Bytes, ExecuteError> {
        self.cache.get_at_most(digest, bytes_max).await.map_err(ExecuteError::Fetch)
    }
}

/// What was used last, the newest last.
pub(super) struct Recent<K, V> {
    kept: VecDeque<(K, Arc<V>)>,
    most: usize,
}

impl<K: PartialEq, V> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { kept: VecDeque::new(), most }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<Arc<V>> {
        let place = self.kept.iter().position(|(kept, _)| kept == key)?;
        let found = self.kept.remove(place)?;
        let value = found.1.clone();
        self.kept.push_back(found);
        Some(value)
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Arc<V> {
        if self.kept.len() == self.most {
            self.kept.pop_front();
        }
        let value = Arc::new(value);
        self.kept.push_back((key, value.clone()));
        value
    }
}

/// Whole values are put in and taken out under the lock, so a panic elsewhere leaves them whole.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
