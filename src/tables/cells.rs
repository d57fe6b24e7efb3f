//! What the cells of a column hold: numbers, numbers and gaps, or labels.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

use ndarray::Axis;

use super::csv::{bare, is_missing, other_style};
use super::reader::TableReader;
use super::step::Step;
use super::table::Table;
use crate::error::Result;

/// The number of a cell without a value, in a column of [`Cells::Optional`]: no value of a table is so low.
pub const MISSING: f32 = f32::MIN;

/// A column with more different texts than this holds no labels.
const MOST_LABELS: usize = 64;

/// How the cells of a column are read.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Cells {
    /// As numbers; anything else is an error.
    #[default]
    Numbers,
    /// As numbers, and as [`MISSING`] where there is no value.
    Optional,
    /// As the position of the cell's text among these labels. A cell without a value has the label "".
    Labels(Vec<String>),
}

impl Cells {
    /// Whether it is [`Cells::Numbers`].
    pub fn are_numbers(&self) -> bool {
        *self == Cells::Numbers
    }

    /// The label of a number, or "" of one that is missing; `None` of other numbers.
    pub fn text(&self, x: f64) -> Option<&str> {
        match self {
            Cells::Numbers => None,
            Cells::Optional => (x == f64::from(MISSING)).then_some(""),
            Cells::Labels(labels) => labels.get(x as usize).map(String::as_str),
        }
    }
}

/// [`Cells`], with labels that are found quickly.
pub(super) enum Parsing {
    Numbers,
    Optional,
    Labels(HashMap<String, u32>),
}

impl From<&Cells> for Parsing {
    fn from(cells: &Cells) -> Self {
        match cells {
            Cells::Numbers => Parsing::Numbers,
            Cells::Optional => Parsing::Optional,
            Cells::Labels(labels) => Parsing::Labels(labels.iter().cloned().zip(0..).collect()),
        }
    }
}

/// The text of a cell that may be a label; "" without a value.
pub(super) fn label_of(cell: &str) -> &str {
    if is_missing(cell) { "" } else { bare(cell) }
}

/// Digits behind the point of a number as it is written, without zeros at the end.
fn decimals(cell: &str, point: char) -> Option<u32> {
    let digits = cell.trim().rsplit_once(point).map_or("", |(_, behind)| behind).trim_end_matches('0');
    let few = digits.len() <= 9 && !cell.contains(['e', 'E', 'd', 'D']);
    (few && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(digits.len() as u32)
}

/// What the cells of a column hold, over all rows: [`TableReader::survey`].
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The column's name.
    pub name: String,
    /// Cells of all rows.
    pub rows: usize,
    /// Those without a value.
    pub missing: usize,
    /// Those that are neither numbers nor missing.
    pub texts: usize,
    /// Those of the texts that are numbers in another style: with a decimal comma, or with thousands separators.
    pub styled: usize,
    /// The different texts, in alphabetical order, and how often each stands; at most 65.
    pub labels: BTreeMap<String, usize>,
    /// Whether the column counts the rows: each number is one more than that before.
    pub counts: bool,
    /// The most digits behind the decimal point; `None` where a number has an exponent, or more than nine of them.
    pub decimals: Option<u32>,
}

impl Survey {
    pub(super) fn new(name: String) -> Self {
        Survey {
            name,
            rows: 0,
            missing: 0,
            texts: 0,
            styled: 0,
            labels: BTreeMap::new(),
            counts: true,
            decimals: Some(0),
        }
    }

    /// Another cell; `last` is the number before it.
    pub(super) fn add(&mut self, cell: &str, number: Option<f64>, point: char, last: &mut f64) {
        self.rows += 1;
        match number {
            Some(number) => {
                self.counts &= self.rows == 1 && number.fract() == 0.0 || number == *last + 1.0;
                *last = number;
                self.decimals = self.decimals.zip(decimals(cell, point)).map(|(most, these)| most.max(these));
            }
            None => {
                self.counts = false;
                let missing = is_missing(cell);
                self.missing += usize::from(missing);
                self.texts += usize::from(!missing);
                self.styled += usize::from(!missing && other_style(cell));
            }
        }
        // More than can be labels need not be known.
        let label = label_of(cell);
        if let Some(count) = self.labels.get_mut(label) {
            *count += 1;
        } else if self.labels.len() <= MOST_LABELS {
            self.labels.insert(label.to_owned(), 1);
        }
    }

    /// The grid of numbers with these decimals.
    pub fn step(&self) -> Option<Step> {
        let decimals = self.decimals.filter(|_| self.texts == 0 && self.missing < self.rows)?;
        Some(Step { width: 1.0 / 10f64.powi(decimals as i32), offset: 0.0 })
    }

    /// How a model can read the column; `None` of texts too [many](Survey::as_labels) for labels, of a column that counts
    /// its rows, and of one without any value. Texts among as many numbers, and numbers in another style, are not taken
    /// for labels: reading the column as numbers finds the first of them.
    pub fn cells(&self) -> Option<Cells> {
        let counts = self.counts && self.rows > 2;
        let numbers = if self.missing > 0 { Cells::Optional } else { Cells::Numbers };
        let mistakes = self.rows - self.missing - self.texts >= self.texts || 2 * self.styled > self.texts;
        match self.texts {
            0 if self.rows > 0 && self.missing == self.rows || counts => None,
            0 => Some(numbers),
            _ if mistakes => Some(numbers),
            _ => self.as_labels(),
        }
    }

    /// The column as labels, whatever it holds; `None` with more than 64 different cells, or one for less than two rows.
    pub fn as_labels(&self) -> Option<Cells> {
        let texts = self.labels.len() - usize::from(self.labels.contains_key(""));
        (self.labels.len() <= MOST_LABELS && texts <= self.rows.div_ceil(2))
            .then(|| Cells::Labels(self.labels.keys().cloned().collect()))
    }
}

impl Table {
    /// Leaves out the rows in which a column has no value, whose `cells` then hold none; how many these were.
    ///
    /// ```
    /// use quadrivium::tables::{Cells, Header, TableReader};
    ///
    /// let mut cells = [Cells::Labels(vec!["".into(), "DE".into(), "FR".into()]), Cells::Optional];
    /// let reader = TableReader::new("country,orders\nFR,3\nDE,\n,4\n".as_bytes(), Header::Detect)?;
    /// let mut table = reader.read_as(&cells)?.table(usize::MAX)?;
    /// assert_eq!(table.drop_missing(&mut cells), 2);
    /// assert_eq!(cells, [Cells::Labels(vec!["DE".into(), "FR".into()]), Cells::Numbers]);
    /// assert_eq!(table.x, quadrivium::ndarray::array![[1.0, 3.0]]);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn drop_missing(&mut self, cells: &mut [Cells]) -> usize {
        let mut whole = vec![true; self.x.nrows()];
        for (column, cells) in self.x.columns_mut().into_iter().zip(cells) {
            // The places of labels move down by the one that is no label.
            let (gap, fewer) = match cells {
                Cells::Numbers => continue,
                Cells::Optional => (MISSING, 0.0),
                Cells::Labels(labels) => match labels.iter().position(String::is_empty) {
                    Some(place) => (place as f32, 1.0),
                    None => continue,
                },
            };
            for (x, whole) in column.into_iter().zip(&mut whole) {
                *whole &= *x != gap;
                *x -= if *x > gap { fewer } else { 0.0 };
            }
            match cells {
                Cells::Labels(labels) => labels.retain(|label| !label.is_empty()),
                other => *other = Cells::Numbers,
            }
        }
        let kept: Vec<usize> = (0..whole.len()).filter(|&row| whole[row]).collect();
        self.x = self.x.select(Axis(0), &kept);
        whole.len() - kept.len()
    }
}

impl<R: BufRead> TableReader<R> {
    /// Reads all rows, and says what each of the selected columns holds. For an array of numbers, numbers.
    ///
    /// ```
    /// use quadrivium::tables::{Cells, Header, TableReader};
    ///
    /// let text = "id,country,orders\n1,DE,3\n2,FR,\n3,DE,4\n";
    /// let survey = TableReader::new(text.as_bytes(), Header::Detect)?.survey()?;
    /// let cells: Vec<_> = survey.iter().map(|column| column.cells()).collect();
    /// let countries = Cells::Labels(vec!["DE".into(), "FR".into()]);
    /// assert_eq!(cells, [None, Some(countries), Some(Cells::Optional)]);
    ///
    /// let read = [Cells::Labels(vec!["DE".into(), "FR".into()]), Cells::Optional];
    /// let reader = TableReader::new(text.as_bytes(), Header::Detect)?.select(&["country", "orders"])?;
    /// let x = reader.read_as(&read)?.block(9)?;
    /// assert_eq!((x[[1, 0]], x[[1, 1]]), (1.0, quadrivium::tables::MISSING));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`block`](TableReader::block), but for what cells hold.
    pub fn survey(mut self) -> Result<Vec<Survey>> {
        let mut surveys: Vec<Survey> =
            self.names().into_iter().map(|name| Survey::new(name.to_owned())).collect();
        let mut last = vec![f64::NAN; surveys.len()];
        let point = self.point();
        self.each_cell(&mut |place, cell, number| surveys[place].add(cell, number, point, &mut last[place]))?;
        Ok(surveys)
    }
}
