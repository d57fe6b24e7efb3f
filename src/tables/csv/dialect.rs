//! The dialect of a text, detected from its first lines.

use std::fmt;

use csv_core::{ReadFieldResult, ReaderBuilder};

use super::TextOptions;
use super::number::{Decimal, is_missing, number};
use super::records::{NONE, Records};
use crate::error::{Result, check};

/// What begins a comment if the options do not say.
pub const COMMENT: u8 = b'#';

/// The number of records by which separators are judged.
const JUDGED: usize = 64;

/// A decision about a text that could also be read in another way. Its text says what was assumed; an option of
/// [`TextOptions`] overrides it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guess {
    /// The first line holds 0, 1, 2, … or 1, 2, 3, … and was taken for a row: [`TextOptions::header`].
    FirstLineCounts,
    /// The first line holds numbers in quotes, like the other lines, and was taken for a row:
    /// [`TextOptions::header`].
    FirstLineQuoted,
    /// A comment before the rows has as many cells as they have, and was skipped. With
    /// [`Header::Present`](super::Header::Present) it names the columns.
    CommentPassedOver {
        /// Line, from 1, as an editor shows it.
        line: u64,
    },
    /// With [`Header::Present`](super::Header::Present), a comment before the rows was taken for their header.
    CommentNames {
        /// Line, from 1, as an editor shows it.
        line: u64,
    },
    /// Each line was taken for two whole numbers, and could be one with decimals or thousands:
    /// [`TextOptions::decimal`].
    TwoColumns,
    /// Columns that have no name in the header were named by their numbers.
    Unnamed {
        /// The columns, from 1.
        columns: Vec<usize>,
    },
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Guess::FirstLineCounts => {
                f.write_str("the first line counts the columns and is taken for a row, not for their names")
            }
            Guess::FirstLineQuoted => f.write_str(
                "the first line holds numbers in quotes, as the others do, and is taken for a row, not for names",
            ),
            Guess::CommentPassedOver { line } => write!(
                f,
                "line {line} is a comment with a cell for each column and is passed over; it may be their names"
            ),
            Guess::CommentNames { line } => write!(f, "the columns have the names in the comment in line {line}"),
            Guess::TwoColumns => f.write_str(
                "each line is taken for two whole numbers; it could be one number with decimals or thousands",
            ),
            Guess::Unnamed { columns } => {
                let names: Vec<String> = columns.iter().map(|column| format!("x{column}")).collect();
                write!(f, "columns without a name in the header are called {}", names.join(", "))
            }
        }
    }
}

/// The beginning of a text.
pub struct Sample<'a> {
    /// The text from the first line on that is not a comment.
    pub text: &'a [u8],
    /// Whether the sample reaches the end of the text.
    pub whole: bool,
}

/// The comments at the beginning of a text: their bytes and lines, and the last comment with its line number.
pub struct Comments {
    pub bytes: usize,
    pub lines: u64,
    pub last: Option<(u64, String)>,
}

impl Comments {
    pub fn of(text: &[u8], mark: u8) -> Self {
        let mut comments = Comments { bytes: 0, lines: 0, last: None };
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let content = line.trim_ascii();
            if !content.is_empty() && content[0] != mark {
                break;
            }
            comments.bytes += line.len();
            comments.lines += 1;
            if let Some((_, comment)) = content.split_first() {
                comments.last = Some((comments.lines, String::from_utf8_lossy(comment).into_owned()));
            }
        }
        comments
    }
}

/// The shape of the records under a separator.
struct Shape {
    /// Cells of the first record.
    cells: usize,
    /// The mean share of numbers in a record, with 0 for a record of another length than the first.
    numbers: f64,
}

impl Sample<'_> {
    fn shape(&self, separator: u8, options: &TextOptions, is_number: impl Fn(&str) -> bool) -> Option<Shape> {
        let mut records = Records::new(self.text, separator, options.comment, 1);
        // Invalid records have no shape.
        let mut shares = Vec::new();
        let mut cells = 0;
        while shares.len() < JUDGED && records.advance().ok()? {
            if cells == 0 {
                cells = records.len();
            } else if records.cells().next().is_some_and(|cell| cell.first() == Some(&COMMENT)) {
                continue;
            }
            let holds = |cell: &&[u8]| std::str::from_utf8(cell).is_ok_and(|c| is_missing(c) || is_number(c));
            let numbers = if records.len() == cells { records.cells().filter(holds).count() } else { 0 };
            shares.push(numbers as f64 / cells as f64);
        }
        if !self.whole && (2..JUDGED).contains(&shares.len()) {
            // The record continues after the sample.
            shares.pop();
        }
        Some(Shape { cells, numbers: shares.iter().sum::<f64>() / shares.len().max(1) as f64 })
    }

    /// The separator of the cells. Among the separators in the first record, it is the one for which the most cells
    /// in records of the first one's length are numbers; among equals, the first of comma, tab, semicolon, bar and
    /// spaces.
    pub fn separator(&self, options: &TextOptions) -> u8 {
        let strictly = |cell: &str| number(cell, options.decimal).is_some();
        // Numbers with decimal commas also indicate columns. They are refused later, naming the option that reads
        // them.
        let widely = |cell: &str| strictly(cell) || (options.decimal == Decimal::Plain && other_style(cell));
        let lines = self.shape(NONE, options, strictly).map_or(0.0, |lines| lines.numbers);
        if options.decimal != Decimal::Plain && lines == 1.0 {
            return NONE;
        }
        let (mut best, mut most) = (NONE, lines);
        for separator in *b",\t;| " {
            let Some(shape) = self.shape(separator, options, widely) else { continue };
            let better = shape.numbers > most || (best == NONE && shape.numbers == most);
            if shape.cells > 1 && better {
                (best, most) = (separator, shape.numbers);
            }
        }
        best
    }

    /// Whether each line reads as one number with decimals or thousands.
    pub fn may_be_one_column(&self, options: &TextOptions) -> bool {
        options.decimal == Decimal::Plain
            && self.shape(NONE, options, other_style).is_some_and(|lines| lines.numbers == 1.0)
    }

    /// Which cells of the first two records are in quotes.
    pub fn quoted(&self, separator: u8) -> [Vec<bool>; 2] {
        let mut core = ReaderBuilder::new().delimiter(separator).build();
        let (mut text, mut cell) = (self.text, vec![0; self.text.len() + 1]);
        let mut records = [Vec::new(), Vec::new()];
        for record in &mut records {
            loop {
                // There may be line ends before the first cell.
                let skipped =
                    text.iter().take_while(|byte| record.is_empty() && b"\r\n".contains(byte)).count();
                let in_quotes = text.get(skipped) == Some(&b'"');
                let (result, read, length) = core.read_field(text, &mut cell);
                text = &text[read..];
                if separator != b' ' || length > 0 {
                    record.push(in_quotes);
                }
                if !matches!(result, ReadFieldResult::Field { record_end: false }) {
                    break;
                }
            }
        }
        records
    }
}

/// Whether a cell is a number, possibly with a decimal comma or thousands separators.
pub fn other_style(cell: &str) -> bool {
    [Decimal::Point, Decimal::Comma].into_iter().any(|decimal| number(cell, decimal).is_some())
}

/// A separator that can split a record.
pub fn check_marks(options: &TextOptions) -> Result<()> {
    let no_mark = |byte: u8| byte.is_ascii_alphanumeric() || b"\"\r\n.+-".contains(&byte) || !byte.is_ascii();
    let (separator, comment) = (options.separator, options.comment);
    check(
        !separator.is_some_and(no_mark),
        "separator",
        separator.map(char::from),
        "an ASCII character that numbers do not contain",
    )?;
    check(
        !comment.is_some_and(no_mark),
        "comment",
        comment.map(char::from),
        "an ASCII character that numbers do not contain",
    )
}
