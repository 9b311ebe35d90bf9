//! A list of results, as a stage's combine makes it: read a page at a time, however many there are.
//!
//! Where the list and its pages are stored, it does not know.

use std::collections::VecDeque;

use convoke_core::Digest;

use crate::program::{self, Brought, ProgramError, ResultsPage};

/// A list of results, a page at a time: those that failed for good are not on it.
#[derive(Clone, Debug)]
pub struct ResultList {
    pages: VecDeque<Digest>,
    rest: Option<ResultsPage>,
}

/// A page of a list of results.
#[derive(Clone, Debug)]
pub enum Page {
    /// It is a blob of at most [`program::RESULTS_PAGE_BYTES_MAX`]: [`ResultList::read_page`] reads it.
    Stored(Digest),
    /// It is here.
    Read(Vec<Brought>),
}

impl ResultList {
    /// Reads the list, at most [`program::MANIFEST_BYTES_MAX`].
    pub fn read(bytes: &[u8]) -> Result<Self, ProgramError> {
        let list: program::Results = program::read_bytes("list of results", bytes)?;
        Ok(Self { pages: list.page_blobs()?.into(), rest: list.rest })
    }

    /// The next page; `None` after the last.
    pub fn next_page(&mut self) -> Result<Option<Page>, ProgramError> {
        match self.pages.pop_front() {
            Some(page) => Ok(Some(Page::Stored(page))),
            None => self.rest.take().map(|page| Ok(Page::Read(values(&page)?))).transpose(),
        }
    }

    /// Reads a page that was stored.
    pub fn read_page(bytes: &[u8]) -> Result<Vec<Brought>, ProgramError> {
        values(&program::read_bytes("page of results", bytes)?)
    }
}

fn values(page: &ResultsPage) -> Result<Vec<Brought>, ProgramError> {
    page.results.iter().map(program::v1::Result::brought).collect()
}
