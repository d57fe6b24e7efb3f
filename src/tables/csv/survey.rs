//! What the columns of a text hold if not all of them hold numbers.

use std::collections::BTreeSet;

use super::TextOptions;
use super::number::{bare, is_missing, number};
use super::records::Records;
use super::{dialect, shortened};
use crate::error::Content;
use crate::tables::selection::Selection;

/// A column with more different words than this counts as text.
const CATEGORIES: usize = 8;

/// Up to this many cells without a number are reported one by one.
const A_FEW: usize = 2;

/// Cells of a column, by what they hold.
#[derive(Default)]
struct Counts {
    rows: usize,
    numbers: usize,
    missing: usize,
    styled: usize,
    dates: usize,
    truths: usize,
    /// Cells that hold something else, by their content; up to one more kind than there may be categories.
    others: usize,
    words: BTreeSet<String>,
}

impl Counts {
    fn add(&mut self, cell: &str, options: &TextOptions) {
        self.rows += 1;
        if number(cell, options.decimal).is_some() {
            self.numbers += 1;
        } else if is_missing(cell) {
            self.missing += 1;
        } else if dialect::other_style(cell) {
            self.styled += 1;
        } else {
            self.others += 1;
            self.dates += usize::from(is_time(cell));
            let truth = ["true", "false", "yes", "no", "t", "f", "y", "n"];
            self.truths += usize::from(truth.iter().any(|word| bare(cell).eq_ignore_ascii_case(word)));
            if self.words.len() <= CATEGORIES {
                self.words.insert(shortened(bare(cell)));
            }
        }
    }

    /// Whether most cells are not numbers.
    fn is_text(&self) -> bool {
        self.others > self.numbers.max(A_FEW)
    }

    fn content(&self) -> Content {
        match self.others {
            0 if self.styled > 0 => Content::OtherStyle,
            0 if self.missing > 0 => Content::Gaps { missing: self.missing, rows: self.rows },
            0 => Content::Numbers,
            others if others == self.dates => Content::Dates,
            others if others == self.truths => Content::Truth,
            others if self.words.len() <= CATEGORIES && others >= 2 * self.words.len() => {
                Content::Categories(self.words.iter().cloned().collect())
            }
            _ => Content::Text { example: self.words.first().cloned().unwrap_or_default() },
        }
    }
}

/// Whether it looks like 2021-03-01, 1/3/21, 12:30 or a time on a day.
fn is_time(cell: &str) -> bool {
    let cell = bare(cell);
    let digits = cell.bytes().filter(u8::is_ascii_digit).count();
    digits >= 3
        && cell.contains(['-', '/', ':', '.'])
        && cell.chars().all(|c| c.is_ascii_digit() || "-/:.+TZ ".contains(c))
}

/// The selected columns and what each holds, if one of them holds text, or several hold something other than numbers.
/// `sample` is the beginning of the text; its first line is a header if `headed`.
pub fn mixed(
    sample: &[u8],
    headed: bool,
    separator: u8,
    options: &TextOptions,
    selection: &Selection,
) -> Option<Vec<(String, Content)>> {
    let names = selection.names();
    let mut counts: Vec<Counts> = names.iter().map(|_| Counts::default()).collect();
    let mut records = Records::new(sample, separator, options.comment, 1);
    if headed {
        records.advance().ok()?;
    }
    while let Ok(true) = records.advance() {
        if records.len() == names.len() {
            for (counts, cell) in counts.iter_mut().zip(records.cells()) {
                counts.add(&String::from_utf8_lossy(cell), options);
            }
        }
    }
    let of = |&column: &usize| &counts[column];
    let columns = selection.columns();
    let troubled = columns.iter().map(of).filter(|counts| counts.others + counts.missing > A_FEW).count();
    let listed = troubled > 1 || columns.iter().map(of).any(Counts::is_text);
    listed.then(|| columns.iter().map(|column| (names[*column].clone(), of(column).content())).collect())
}
