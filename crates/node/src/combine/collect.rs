//! Collecting: a stage's results become a list of them, in task order, which a reduction or a client reads.
//!
//! Nothing is copied: the list names what the tasks brought, and all of that is synced before anyone hears of the list. What
//! is in a result it does not know.

use convoke_core::coordinator::roots::List;
use convoke_core::coordinator::{Combine, CombineOutcome, Part};
use convoke_core::event::{Combined, Metrics};
use convoke_core::{Digest, Form, Payload};
use convoke_store::blobs::{BlobError, Blobs, Durability};
use convoke_store::collector::CollectError;
use convoke_wire::program::{self, Brought, Results, ResultsPage, ResultsPageEntry};

use super::CombineError;
use crate::lists;

/// The most results on a page.
const PAGE_RESULTS_MAX: usize = 4_096;
/// The most bytes of the results that stand on a page themselves.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// A list of at most so many bytes is its own only page.
const REST_BYTES_MAX: usize = 8 * 1024;

/// Lists the results; those of which blobs are gone are named instead.
pub(super) fn collect(order: &Combine, blobs: &dyn Blobs) -> Result<CombineOutcome, CombineError> {
    let (mut results, mut page, mut page_bytes) = (Results::default(), ResultsPage::default(), 0);
    let mut lost = Vec::new();
    for part in &order.parts {
        let Some(brought) = settle(part, blobs)? else {
            lost.push(part.index);
            continue;
        };
        let result = program::v1::Result::from(&brought);
        let bytes = prost_bytes(&result);
        if page.results.len() == PAGE_RESULTS_MAX || page_bytes + bytes > PAGE_BYTES_MAX {
            results.pages.push(put_page(&std::mem::take(&mut page), blobs)?);
            page_bytes = 0;
        }
        page_bytes += bytes;
        page.results.push(result);
    }
    if !lost.is_empty() {
        return Ok(CombineOutcome::ResultsLost(lost));
    }
    if results.pages.is_empty() && page_bytes <= REST_BYTES_MAX {
        results.rest = Some(page);
    } else if !page.results.is_empty() {
        results.pages.push(put_page(&page, blobs)?);
    }
    let bytes = program::encode(&results);
    let result = match Payload::inline(&bytes).ok().filter(|_| bytes.len() <= 2 * REST_BYTES_MAX) {
        Some(payload) => payload,
        None => Payload::blob(blobs.put(&bytes, Durability::Synced)?),
    };
    Ok(CombineOutcome::Combined(Combined { result, metrics: Metrics::default(), refused: Vec::new() }))
}

fn prost_bytes(result: &program::v1::Result) -> usize {
    program::Message::encoded_len(result)
}

fn put_page(page: &ResultsPage, blobs: &dyn Blobs) -> Result<ResultsPageEntry, CombineError> {
    let digest = blobs.put(&program::encode(page), Durability::Synced)?;
    let bytes = page.results.iter().map(|result| result.bytes).sum();
    Ok(ResultsPageEntry { digest: digest.0.to_vec(), results: page.results.len() as u32, bytes })
}

/// Makes what a task brought durable; `None` if some of it is gone.
fn settle(part: &Part, blobs: &dyn Blobs) -> Result<Option<Brought>, CombineError> {
    let bytes = match part.result.form() {
        Form::Inline(bytes) => bytes.len() as u64,
        Form::Blob(digest) => match synced(blobs, *digest)?.then(|| blobs.open(*digest)).transpose()?.flatten() {
            Some(reader) => reader.len(),
            None => return Ok(None),
        },
    };
    let mut named: Vec<Digest> = part.extras.files.iter().filter_map(Payload::as_blob).collect();
    let mut files = part.extras.files.clone();
    if let Some(list) = &files {
        match lists::entries(blobs, &List::Files(list.clone())) {
            // A list that is not there is found missing below.
            Ok(entries) => named.extend(entries.unwrap_or_default()),
            // Nobody could read it: the result counts all the same.
            Err(CollectError::List(error)) => {
                tracing::warn!(task = part.index, "the files that a task left are dropped: {error}");
                files = None;
                named.clear();
            }
            Err(error) => return Err(error.into()),
        }
    }
    for digest in named {
        if !synced(blobs, digest)? {
            return Ok(None);
        }
    }
    // A log is no reason to run the task again.
    let log = part
        .extras
        .log
        .clone()
        .filter(|log| log.as_blob().is_none_or(|digest| synced(blobs, digest).is_ok_and(|synced| synced)));
    Ok(Some(Brought { index: part.index, result: part.result.clone(), bytes, files, log }))
}

/// A spoiled blob is as good as none.
fn synced(blobs: &dyn Blobs, digest: Digest) -> Result<bool, BlobError> {
    match blobs.sync(digest) {
        Err(BlobError::Damaged { .. }) => Ok(false),
        synced => synced,
    }
}
