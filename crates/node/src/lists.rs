//! What lists name: the pieces of an input, the results of a stage, the files of a task, what a program brings along.
//!
//! It reads; whether what is named is there it does not know.

use convoke_core::coordinator::roots::List;
use convoke_core::{Ability, Digest, Form, Payload, Split};
use convoke_store::blobs::{BlobError, Blobs};
use convoke_store::collector::CollectError;
use convoke_wire::items::Items;
use convoke_wire::program::{self, MANIFEST_BYTES_MAX, ProgramError, RESULTS_PAGE_BYTES_MAX};

use crate::executor::{COMMAND, STEP, WASM};

/// The blobs that a list names, in its order; `None` if the list is not there.
pub(crate) fn entries(blobs: &dyn Blobs, list: &List) -> Result<Option<Vec<Digest>>, CollectError> {
    let Some(bytes) = bytes(blobs, list.payload(), MANIFEST_BYTES_MAX)? else { return Ok(None) };
    let unreadable = |error: ProgramError| CollectError::List(Box::new(error));
    let named = match list {
        List::Manifest(_) => {
            let manifest: program::Manifest = program::read_bytes("manifest", &bytes).map_err(unreadable)?;
            manifest.blobs().map_err(unreadable)?
        }
        List::Files(_) => program::read_bytes::<program::Files>("list of files", &bytes)
            .and_then(|files| files.blobs())
            .map_err(unreadable)?,
        List::Program(ability, _) => program_blobs(ability, &bytes).map_err(unreadable)?,
        List::Results(_) => {
            let results: program::Results = program::read_bytes("list of results", &bytes).map_err(unreadable)?;
            let mut named = Vec::new();
            for page in results.page_blobs().map_err(unreadable)? {
                named.push(page);
                results_on(blobs, page, &mut named)?;
            }
            name_all(blobs, results.rest.iter().flat_map(|page| &page.results), &mut named)?;
            named
        }
    };
    Ok(Some(named))
}

/// The blobs that a page of results names, and those of the files that they left.
fn results_on(blobs: &dyn Blobs, page: Digest, named: &mut Vec<Digest>) -> Result<(), CollectError> {
    let unreadable = |error: ProgramError| CollectError::List(Box::new(error));
    let Some(bytes) = blobs.get(page, RESULTS_PAGE_BYTES_MAX)? else { return Ok(()) };
    let page: program::ResultsPage = program::read_bytes("page of results", &bytes).map_err(unreadable)?;
    name_all(blobs, page.results.iter(), named)
}

/// The blobs that results name, and those of the files that they left.
fn name_all<'a>(
    blobs: &dyn Blobs,
    results: impl Iterator<Item = &'a program::v1::Result>,
    named: &mut Vec<Digest>,
) -> Result<(), CollectError> {
    let unreadable = |error: ProgramError| CollectError::List(Box::new(error));
    for result in results {
        let brought = result.brought().map_err(unreadable)?;
        named.extend([Some(brought.result), brought.log].into_iter().flatten().filter_map(|payload| payload.as_blob()));
        if let Some(files) = brought.files {
            named.extend(files.as_blob());
            named.extend(entries(blobs, &List::Files(files))?.unwrap_or_default());
        }
    }
    Ok(())
}

/// What a program brings along. Of an ability that is not known here, and of what is none, there is nothing to say: the
/// task fails, and says why.
fn program_blobs(ability: &Ability, bytes: &[u8]) -> Result<Vec<Digest>, ProgramError> {
    match ability.as_str() {
        COMMAND => program::read_bytes::<program::Command>("command", bytes)?.blobs(),
        STEP => {
            let step: program::Step = program::read_bytes("step", bytes)?;
            step.command.map_or(Ok(Vec::new()), |command| command.blobs())
        }
        WASM => Ok(vec![program::read_bytes::<program::Wasm>("WebAssembly program", bytes)?.module_digest()?]),
        _ => Ok(Vec::new()),
    }
}

/// How many samples each of the shards has that a manifest lists; none where it is not one, or not there.
pub(crate) fn samples(blobs: &dyn Blobs, manifest: &Payload) -> Result<Vec<u64>, BlobError> {
    let bytes = bytes(blobs, manifest, MANIFEST_BYTES_MAX)?.unwrap_or_default();
    let manifest: Result<program::Manifest, _> = program::read_bytes("manifest", &bytes);
    Ok(manifest.map(|manifest| manifest.entries.iter().map(|entry| entry.samples).collect()).unwrap_or_default())
}

/// An input, read so that it can be said what each task needs of it.
pub(crate) enum Cut {
    /// The entries of a manifest, each a task's own.
    Entries(Vec<Digest>),
    /// The items of a manifest.
    Items(Items),
    /// The pages of a list of results, each with the place of its first result; what stands in the list itself; and how many
    /// a task takes.
    Results { pages: Vec<(u32, Digest)>, rest_start: u32, rest: Vec<program::v1::Result>, fan_in: u32 },
    /// Nothing that is stored.
    Nothing,
}

impl Cut {
    /// Reads an input. One that cannot be read names nothing: the task fails, and says why.
    pub(crate) fn read(blobs: &dyn Blobs, input: &Payload, split: Split) -> Self {
        let Ok(Some(bytes)) = bytes(blobs, input, MANIFEST_BYTES_MAX) else { return Self::Nothing };
        let cut = match split {
            Split::Entries => program::read_bytes::<program::Manifest>("manifest", &bytes)
                .and_then(|manifest| manifest.blobs())
                .map(Self::Entries),
            Split::Items => {
                program::read_bytes::<program::Manifest>("manifest", &bytes).and_then(Items::new).map(Self::Items)
            }
            Split::Groups { fan_in } => {
                program::read_bytes::<program::Results>("list of results", &bytes).and_then(|results| {
                    let rest = results.rest.as_ref().map(|page| page.results.clone()).unwrap_or_default();
                    let rest_start = results.pages.iter().fold(0_u32, |sum, page| sum.saturating_add(page.results));
                    Ok(Self::Results { pages: results.starts()?, rest_start, rest, fan_in })
                })
            }
            Split::Range => return Self::Nothing,
        };
        cut.unwrap_or(Self::Nothing)
    }

    /// The blobs that a task needs of the input.
    pub(crate) fn of_task(&self, blobs: &dyn Blobs, index: u32) -> Vec<Digest> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Entries(entries) => entries.get(index as usize).copied().into_iter().collect(),
            Self::Items(items) => items.locate(index).map(|located| located.digest).into_iter().collect(),
            Self::Results { pages, rest_start, rest, fan_in } => {
                let first = index.saturating_mul(*fan_in);
                let wanted = first..first.saturating_add(*fan_in);
                let mut named = Vec::new();
                let name = |start: u32, results: &[program::v1::Result]| {
                    let group = (start..).zip(results).filter(|(place, _)| wanted.contains(place));
                    let results = group.filter_map(|(_, result)| result.brought().ok()?.result.as_blob());
                    results.collect::<Vec<_>>()
                };
                for (start, page) in covering(pages, wanted.start, wanted.end) {
                    named.push(page);
                    // One that cannot be read fails the task.
                    let Ok(Some(bytes)) = blobs.get(page, RESULTS_PAGE_BYTES_MAX) else { continue };
                    let page: Result<program::ResultsPage, _> = program::read_bytes("page of results", &bytes);
                    named.extend(page.map(|page| name(start, &page.results)).unwrap_or_default());
                }
                named.extend(name(*rest_start, rest));
                named
            }
        }
    }
}

/// Those pages that hold places from `first` up to `end`, each with its own first place.
pub(crate) fn covering(pages: &[(u32, Digest)], first: u32, end: u32) -> impl Iterator<Item = (u32, Digest)> {
    let from = pages.partition_point(|(start, _)| *start <= first).saturating_sub(1);
    pages[from..].iter().take_while(move |(start, _)| *start < end).copied()
}

fn bytes(blobs: &dyn Blobs, payload: &Payload, bytes_max: u64) -> Result<Option<bytes::Bytes>, BlobError> {
    match payload.form() {
        Form::Inline(bytes) => Ok(Some(bytes::Bytes::from_owner(bytes.clone()))),
        Form::Blob(digest) => blobs.get(*digest, bytes_max),
    }
}
