//! Which columns of one file are features, which is the label, and how they are called: a layout, resolved once against
//! the file's first row.
//! The first row is a header where no cell of it is a number: a row with one bad cell is a row, and an error.
//! It does not know the rows behind.

use std::collections::BTreeSet;

use super::layout::{Inputs, LabelColumn, Layout};
use super::line::Line;
use super::{Place, RowError};
use crate::excerpt::excerpt;

/// The most names that an error lists.
const LISTED_MAX: usize = 20;

/// A file's columns, from 0.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// The first row's line, from 1.
    pub(super) line: u64,
    /// Cells of a row.
    pub(super) count: usize,
    /// Those that are features, in order.
    pub(super) features: Vec<usize>,
    /// The label, where there is one.
    pub(super) label: Option<usize>,
    /// All names, where the first row is a header.
    pub(super) names: Option<Vec<String>>,
}

/// What is wanted of a file.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// Rows to learn from; whatever is dropped must be there.
    Training,
    /// Labelled rows for a model.
    Measuring(&'a Inputs),
    /// Rows for a model; there may be labels.
    Predicting(&'a Inputs),
}

impl Columns {
    /// Resolves a layout against the first row.
    pub(super) fn resolve(layout: &Layout, first: &Line, purpose: Purpose) -> Result<Columns, RowError> {
        let names = names(layout, first)?;
        let resolver = Resolver { layout, first, names: names.as_deref(), purpose };
        let (features, label) = resolver.resolve()?;
        if let (Purpose::Measuring(inputs) | Purpose::Predicting(inputs), Some(names)) = (purpose, &names) {
            let differs = |(column, expected): &(&usize, &String)| names[**column] != **expected;
            if let Some((column, expected)) = features.iter().zip(&inputs.names).find(differs) {
                let place = Place { name: None, ..first.place(column + 1) };
                let (found, expected) = (excerpt(&names[*column]), excerpt(expected));
                return Err(RowError::FeatureName { place, found, expected });
            }
        }
        Ok(Columns { line: first.number, count: first.cell_count(), features, label, names })
    }

    /// The features' names; none where there is no header.
    pub(super) fn feature_names(&self) -> Vec<String> {
        let name = |names: &Vec<String>| self.features.iter().map(|column| names[*column].clone()).collect();
        self.names.as_ref().map_or_else(Vec::new, name)
    }
}

/// The first row's cells as names, if it is a header.
fn names(layout: &Layout, first: &Line) -> Result<Option<Vec<String>>, RowError> {
    // A column that is dropped by its number may be called anything.
    let dropped: BTreeSet<usize> = parts(layout).filter_map(|part| number(part, first.cell_count())).collect();
    let mut seen = BTreeSet::new();
    let (mut empty, mut repeated) = (None, None);
    for (column, cell) in first.cells().enumerate().filter(|(column, _)| !dropped.contains(column)) {
        if cell.parse::<f32>().is_ok() {
            return Ok(None);
        }
        if cell.is_empty() {
            empty = empty.or(Some(column));
        } else if !seen.insert(cell) {
            repeated = repeated.or(Some((column, cell)));
        }
    }
    // Without any number it can be no row either, so what is missing is a header's.
    match (empty, repeated) {
        (Some(column), _) => Err(RowError::EmptyCell { place: first.place(column + 1) }),
        (None, Some((column, cell))) if first.cell_count() > 2 => {
            Err(RowError::RepeatedName { place: first.place(column + 1), name: excerpt(cell) })
        }
        (None, Some(_)) => Ok(None),
        (None, None) => Ok(Some(first.cells().map(str::to_string).collect())),
    }
}

/// What is to be dropped, with lists taken apart.
fn parts(layout: &Layout) -> impl Iterator<Item = &str> {
    layout.drop.iter().flat_map(|drop| drop.split(',')).map(str::trim)
}

/// A column's number as its place, from 0.
fn number(text: &str, count: usize) -> Option<usize> {
    text.parse::<usize>().ok().filter(|number| (1..=count).contains(number)).map(|number| number - 1)
}

struct Resolver<'a> {
    layout: &'a Layout,
    first: &'a Line<'a>,
    names: Option<&'a [String]>,
    purpose: Purpose<'a>,
}

impl Resolver<'_> {
    /// The features, and the label.
    fn resolve(&self) -> Result<(Vec<usize>, Option<usize>), RowError> {
        let count = self.first.cell_count();
        let dropped = self.dropped()?;
        let mut left: Vec<usize> = (0..count).filter(|column| !dropped.contains(column)).collect();
        let label = match self.purpose {
            Purpose::Training => Some(self.label(&left, &dropped)?),
            Purpose::Measuring(Inputs { width, .. }) => {
                if left.len() != width + 1 {
                    return Err(self.unfit(left.len(), *width));
                }
                Some(self.label(&left, &dropped)?)
            }
            Purpose::Predicting(Inputs { width, .. }) => {
                // Rows without a header that are as wide as the model cannot lack a column that is dropped.
                if left.len() < *width && count == *width && self.names.is_none() {
                    left = (0..count).collect();
                }
                match left.len().checked_sub(*width) {
                    Some(0) => None,
                    Some(1) => Some(self.label(&left, &dropped)?),
                    _ => return Err(self.unfit(left.len(), *width)),
                }
            }
        };
        left.retain(|column| Some(*column) != label);
        if left.is_empty() && self.layout.drop.is_empty() {
            return Err(RowError::NoFeatures { place: self.first.place(1), delimiter: self.first.other_delimiter() });
        } else if left.is_empty() {
            return Err(RowError::AllDropped { place: self.first.place(count), count });
        }
        Ok((left, label))
    }

    fn dropped(&self) -> Result<BTreeSet<usize>, RowError> {
        let mut dropped = BTreeSet::new();
        for drop in &self.layout.drop {
            // A name may hold a comma; what is no name is a list.
            let parts: Vec<&str> = match self.find(drop) {
                Some(_) => vec![drop],
                None => drop.split(',').map(str::trim).collect(),
            };
            for part in parts {
                match (self.find(part), self.purpose) {
                    (None, Purpose::Training) => return Err(self.unknown(part)),
                    (column, _) => dropped.extend(column),
                }
            }
        }
        Ok(dropped)
    }

    fn label(&self, left: &[usize], dropped: &BTreeSet<usize>) -> Result<usize, RowError> {
        let end = match &self.layout.label {
            LabelColumn::First => left.first(),
            LabelColumn::Last => left.last(),
            LabelColumn::Named(name) => {
                let column = self.find(name).ok_or_else(|| self.unknown(name))?;
                if dropped.contains(&column) {
                    return Err(RowError::LabelDropped { place: self.first.place(column + 1), label: excerpt(name) });
                }
                return Ok(column);
            }
        };
        let count = self.first.cell_count();
        end.copied().ok_or_else(|| RowError::AllDropped { place: self.first.place(count), count })
    }

    /// A column by its name or else by its number.
    fn find(&self, text: &str) -> Option<usize> {
        let named = self.names.and_then(|names| names.iter().position(|name| name == text));
        named.or_else(|| number(text, self.first.cell_count()))
    }

    fn unknown(&self, wanted: &str) -> RowError {
        let count = self.first.cell_count();
        let known = match self.names {
            None => format!("the first row is no header, and has columns 1 to {count}"),
            Some(names) => {
                let listed: Vec<_> = names.iter().take(LISTED_MAX).map(|name| format!("`{}`", excerpt(name))).collect();
                let more = if count > LISTED_MAX { format!(" and {} more", count - LISTED_MAX) } else { String::new() };
                format!("the header has {}{more}", listed.join(", "))
            }
        };
        let (file, line) = (self.first.file().to_string(), self.first.number);
        RowError::UnknownColumn { file, line, count, wanted: excerpt(wanted), known }
    }

    fn unfit(&self, found: usize, width: usize) -> RowError {
        let (place, delimiter) = (self.first.place(self.first.cell_count()), self.first.other_delimiter());
        RowError::Width { place, found, width, delimiter }
    }
}
