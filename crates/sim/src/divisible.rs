//! What maps and reductions compute, and the lists of their results: hashes, so that any other part or order shows.
//!
//! The oracle calls the same two functions over the same bytes. It knows no attempt, and no fault.

use anyhow::{Context, bail};
use convoke_core::event::Completion;
use convoke_core::message::Assignment;
use convoke_core::sabotage::{self, Bug};
use convoke_core::{Digest, Payload, Split};
use convoke_store::digest_of;

use crate::compute::{Fetch, Gone, Made};

/// The combine rule of maps and reductions.
pub const COLLECT: &[u8] = b"collect";
/// How many items a piece of a manifest has, where the items are the tasks.
pub const ITEMS: u32 = 2;
/// A result's place, its kind, and its bytes or their digest.
const ENTRY_BYTES: usize = 4 + 1 + 32;
/// How many results a list has in place; a longer one is a blob.
const INLINE_MAX: usize = 4;

pub fn map(base: &[u8], piece: &[u8], index: u32) -> [u8; 32] {
    digest_of(&[b"map", base, &index.to_le_bytes(), piece].concat()).0
}

pub fn reduce(parts: &[[u8; 32]]) -> [u8; 32] {
    digest_of(&[b"reduce", parts.concat().as_slice()].concat()).0
}

/// A result as it is reported: half of them are blobs.
pub fn result(bytes: [u8; 32]) -> Payload {
    let inline = bytes[0].is_multiple_of(2).then(|| Payload::inline(&bytes).ok()).flatten();
    inline.unwrap_or_else(|| Payload::blob(digest_of(&bytes)))
}

/// A list of results, with the bytes of its blob where it is one.
pub fn list(results: &[(u32, Payload)]) -> Result<(Payload, Option<Vec<u8>>), anyhow::Error> {
    let mut bytes = Vec::new();
    for (index, result) in results {
        bytes.extend(index.to_le_bytes());
        match (result.as_blob(), result.as_inline()) {
            (Some(digest), _) => bytes.extend([&[1], digest.0.as_slice()].concat()),
            (None, inline) => bytes.extend([&[0], inline.unwrap_or_default()].concat()),
        }
    }
    if results.len() <= INLINE_MAX {
        return Ok((Payload::inline(&bytes)?, None));
    }
    Ok((Payload::blob(digest_of(&bytes)), Some(bytes)))
}

/// The results that a list names.
pub fn listed(bytes: &[u8]) -> Result<Vec<Payload>, anyhow::Error> {
    let entry = |entry: &[u8]| -> Result<Payload, anyhow::Error> {
        let named: [u8; 32] = entry[5..].try_into()?;
        Ok(if entry[4] == 1 { Payload::blob(Digest(named)) } else { Payload::inline(&named)? })
    };
    bytes.chunks_exact(ENTRY_BYTES).map(entry).collect()
}

/// Lists a stage's results in their order.
pub fn collect(mut results: Vec<(u32, Payload)>) -> Result<(Payload, Option<Vec<u8>>), anyhow::Error> {
    if sabotage::is(Bug::ReduceOutOfOrder) {
        results.reverse();
    }
    list(&results)
}

/// Runs an attempt of a map or a reduction.
pub fn execute(assignment: &Assignment, fetch: &mut Fetch<'_>) -> Result<Made, anyhow::Error> {
    let index = assignment.task.index;
    let input = fetch(&assignment.input)?.ok_or(Gone("input"))?;
    let bytes = match assignment.split {
        Split::Entries | Split::Items => {
            let place = if assignment.split == Split::Items { index / ITEMS } else { index };
            let entry = input.chunks_exact(32).nth(place as usize).context("the manifest has no such entry")?;
            let piece = fetch(&Payload::blob(Digest(entry.try_into()?)))?.ok_or(Gone("piece"))?;
            map(&fetch(&assignment.base)?.ok_or(Gone("base"))?, &piece, index)
        }
        Split::Range => map(&fetch(&assignment.base)?.ok_or(Gone("base"))?, &[], index),
        Split::Groups { fan_in } => {
            let results = listed(&input)?;
            let group = results.chunks(fan_in as usize).nth(index as usize).context("the list has no such group")?;
            let mut parts = Vec::new();
            for part in group {
                let Ok(part) = fetch(part)?.ok_or(Gone("part"))?.try_into() else { bail!("a part is no hash") };
                parts.push(part);
            }
            reduce(&parts)
        }
    };
    let result = result(bytes);
    let blob = result.as_blob().map(|_| bytes.to_vec());
    Ok(Made { completion: Completion { result, samples: 1, ..Completion::default() }, blob })
}
