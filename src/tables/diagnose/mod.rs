//! Properties of a table that harm a density.

use std::fmt;

use ndarray::{Array2, ArrayView1, Axis};

use super::table::{ColumnKind, Table};
use super::{MISSING, Step, units::WHOLE_ANYWAY};

/// A property of a table that harms a model fitted to it, or a comparison of likelihoods on it. Its text says what it
/// is and, if there is one, the remedy.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// A column holds only one value.
    Constant {
        /// The column.
        column: String,
        /// Its value.
        value: f64,
    },
    /// Whole numbers of a column are changed by rounding to f32: [`Table::rounded`].
    Rounded {
        /// The column.
        column: String,
        /// How many.
        values: usize,
    },
    /// The values of a column lie on a grid: they have no density, and a flexible model can put a spike of any
    /// height on each. [`Table::dequantize`] spreads them.
    Stepped {
        /// The column.
        column: String,
        /// The grid.
        step: Step,
    },
    /// More rows share a value than chance would allow: a density has a spike there.
    Repeated {
        /// The column.
        column: String,
        /// The value.
        value: f64,
        /// Rows that hold it.
        rows: usize,
        /// Rows of the table.
        of: usize,
        /// Number of other values of the column that are repeated in this way.
        others: usize,
    },
    /// Each value is that of the previous row plus a fixed step: the column numbers the rows and is not a
    /// measurement.
    CountsRows {
        /// The column.
        column: String,
    },
    /// A column follows from others: the rows lie in fewer dimensions, and the likelihood has no upper bound.
    Dependent {
        /// The column.
        column: String,
        /// The columns of which it is a linear function.
        on: Vec<String>,
        /// The part of its standard deviation that the function does not explain.
        residual: f64,
    },
    /// Some rows lie so far out that they set the widths of a mixture or of kernels, which then learn the other rows
    /// badly. Networks see such columns by their quantiles.
    Far {
        /// The column.
        column: String,
        /// How many rows.
        rows: usize,
        /// The farthest of them, from 1.
        row: usize,
        /// Its value.
        value: f64,
        /// Its distance from the median, in standard deviations of a normal with the same quartiles.
        distance: f64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Constant { column, value } => {
                write!(f, "column {column} holds {value} in all rows: leave it out")
            }
            Finding::Rounded { column, values } => write!(
                f,
                "column {column}: {values} whole numbers are others in f32, which has 24 bits: subtract a constant"
            ),
            Finding::Stepped { column, step } => {
                write!(f, "column {column} goes in steps of {step}: spread its values over them")
            }
            Finding::Repeated { column, value, rows, of, others } => {
                let others =
                    if *others > 0 { format!(", and {others} other values as often") } else { String::new() };
                write!(
                    f,
                    "column {column} holds {value} in {rows} of {of} rows{others}: a density has a spike there, and \
                     likelihoods say little; model whether a row holds it apart from the other values"
                )
            }
            Finding::CountsRows { column } => write!(f, "column {column} counts the rows: leave it out"),
            Finding::Dependent { column, on, residual } => write!(
                f,
                "column {column} follows from {} (to {residual:.0e} of its standard deviation), so that likelihoods \
                 have no upper bound: leave it out",
                on.join(", ")
            ),
            Finding::Far { column, rows, row, value, distance } => write!(
                f,
                "column {column} has {} far from the others, the farthest row {row} with {value}, {distance:.0} \
                 standard deviations from the median: mixtures and kernels, whose widths it sets, learn the others badly",
                if *rows == 1 { "1 row".into() } else { format!("{rows} rows") },
            ),
        }
    }
}

/// A value counts as shared if it occurs in at least this share of the rows.
const MANY: f64 = 0.02;

/// A row is far if it is more than this many standard deviations from the median; the least number of rows to judge
/// it.
const FAR: f64 = 30.0;
const ENOUGH: usize = 10;

/// The most rows, and columns, among which dependence is searched.
const LOOKED_AT: usize = 2000;
const MOST_COLUMNS: usize = 1000;

/// A column follows from the others if they leave less than this share of its standard deviation unexplained.
const FOLLOWS: f64 = 1e-3;

/// A column's values in ascending order, each with the number of its rows.
pub(super) struct Runs {
    rows: usize,
    runs: Vec<(f64, usize)>,
}

impl Runs {
    /// In the units of the data, without those that are missing.
    pub fn of(table: &Table, column: usize) -> Self {
        let mut values = table.x.column(column).to_vec();
        values.retain(|&value| value != MISSING);
        values.sort_by(f32::total_cmp);
        let rows = values.len();
        let mut runs: Vec<(f64, usize)> = Vec::new();
        for x in values {
            let value = table.units[column].restore(x);
            match runs.last_mut() {
                Some((last, rows)) if *last == value => *rows += 1,
                _ => runs.push((value, 1)),
            }
        }
        Runs { rows, runs }
    }

    /// The quantile of the rows of these runs for a share.
    fn quantile(runs: &[(f64, usize)], share: f64) -> f64 {
        let rows: usize = runs.iter().map(|(_, rows)| rows).sum();
        let mut left = (share * rows.saturating_sub(1) as f64).round() as usize;
        let found = runs.iter().find(|(_, rows)| {
            let here = left < *rows;
            left = left.saturating_sub(*rows);
            here
        });
        found.or(runs.last()).map_or(0.0, |(value, _)| *value)
    }

    /// The distance between the quartiles, or between the ends if the quartiles are equal.
    fn spread(runs: &[(f64, usize)]) -> f64 {
        let at = |share| Runs::quantile(runs, share);
        match at(0.75) - at(0.25) {
            0.0 => at(1.0) - at(0.0),
            quartiles => quartiles,
        }
    }

    /// The widest grid on which all values lie, and the values that more rows hold than a density would explain. The
    /// fair share of a value on a grid is the number of rows that a uniform between the quartiles has there.
    pub fn grid(&self, table: &Table, column: usize) -> (Option<Step>, Vec<(f64, usize)>) {
        let units = table.units[column];
        let values: Vec<f64> = self.runs.iter().map(|(value, _)| *value).collect();
        let whole = values.iter().all(|value| value.fract() == 0.0) && units.scale == 1.0;
        let exact = whole && table.rounded[column] == 0;
        // Where f32 has no fractions, being whole says nothing about the original values.
        const NO_FRACTIONS: f64 = 8_388_608.0;
        let fractions = values
            .iter()
            .any(|value| value - units.center != 0.0 && (value - units.center).abs() < NO_FRACTIONS);
        let error = |value: &f64| match exact && fractions {
            true => 0.0,
            false => (value - units.center).abs() / 16_777_216.0 + value.abs() / WHOLE_ANYWAY,
        };
        let errors: Vec<f64> = values.iter().map(error).collect();
        let step = Step::of(&values, &errors, self.rows);
        let width = step.map_or(0.0, |step| step.width);
        let shared = |&(value, rows): &(f64, usize)| {
            let others: Vec<(f64, usize)> = self.runs.iter().copied().filter(|run| run.0 != value).collect();
            let spread = Runs::spread(&others).max(width);
            let fair = if spread > 0.0 { self.rows as f64 * width / spread } else { 0.0 };
            rows as f64 >= 5.0 * (1.0 + fair)
        };
        let many = self.runs.iter().filter(|(_, rows)| *rows as f64 >= MANY * self.rows as f64);
        let repeated: Vec<(f64, usize)> = many.copied().filter(shared).collect();
        // Otherwise it is the step of the digits that were written.
        let recur = repeated.is_empty() && self.rows >= 2 * self.runs.len();
        (step.filter(|_| exact || recur), repeated)
    }
}

impl Table {
    /// What in this table harms a density or a comparison of likelihoods; nothing for most tables. Rows are examined
    /// as they are, so call this before [`dequantize`](Table::dequantize).
    ///
    /// ```
    /// use quadrivium::tables::{Finding, Table};
    ///
    /// let rows: String = (0..60).map(|i| format!("{i},{:.1}\n", f64::from(i).sin())).collect();
    /// let table = Table::from_reader(format!("row,size\n{rows}").as_bytes())?;
    /// let findings = table.diagnose();
    /// assert!(findings.contains(&Finding::CountsRows { column: "row".into() }));
    /// assert!(findings.iter().any(|finding| finding.to_string().starts_with("column size goes in steps of 0.1")));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn diagnose(&self) -> Vec<Finding> {
        let (mut findings, mut is_far) = (Vec::new(), vec![false; self.x.nrows()]);
        let kinds = self.kinds();
        for (column, name) in self.names.iter().enumerate() {
            let name = || name.clone();
            if kinds[column] == ColumnKind::Constant {
                if self.x.nrows() > 1 {
                    findings.push(Finding::Constant { column: name(), value: self.value(0, column) });
                }
                continue;
            }
            if self.rounded[column] > 0 {
                findings.push(Finding::Rounded { column: name(), values: self.rounded[column] });
            }
            if counts_rows(self.x.column(column)) {
                findings.push(Finding::CountsRows { column: name() });
                continue;
            }
            let runs = Runs::of(self, column);
            let (step, repeated) = runs.grid(self, column);
            findings.extend(step.map(|step| Finding::Stepped { column: name(), step }));
            if let Some(&(value, rows)) = repeated.iter().max_by_key(|(_, rows)| rows) {
                let units = self.units[column];
                let (value, others) = (units.written(units.of(value)), repeated.len() - 1);
                findings.push(Finding::Repeated { column: name(), value, rows, of: self.x.nrows(), others });
            }
            findings.extend(self.far(column, &runs, &mut is_far));
        }
        findings.extend(self.dependent(&kinds, &is_far));
        findings
    }

    /// Rows that are far in a column; they are marked.
    fn far(&self, column: usize, runs: &Runs, is_far: &mut [bool]) -> Option<Finding> {
        let middle = Runs::quantile(&runs.runs, 0.5);
        // The quartiles of a normal are 1.349 standard deviations apart.
        let sd = (Runs::quantile(&runs.runs, 0.75) - Runs::quantile(&runs.runs, 0.25)) / 1.349;
        if sd == 0.0 || self.x.nrows() < ENOUGH {
            return None;
        }
        let distance = |row: usize| (self.value(row, column) - middle).abs() / sd;
        let far: Vec<usize> = (0..self.x.nrows()).filter(|&row| distance(row) > FAR).collect();
        far.iter().for_each(|&row| is_far[row] = true);
        let row = far.iter().copied().max_by(|&a, &b| distance(a).total_cmp(&distance(b)))?;
        Some(Finding::Far {
            column: self.names[column].clone(),
            rows: far.len(),
            row: row + 1,
            value: self.value(row, column),
            distance: distance(row),
        })
    }

    /// Columns that are linear functions of those before them, by Gram–Schmidt on columns with mean 0. A row far out
    /// would make all columns look alike, so it is left out.
    fn dependent(&self, kinds: &[ColumnKind], is_far: &[bool]) -> Vec<Finding> {
        let columns: Vec<usize> = (0..kinds.len()).filter(|&c| kinds[c] != ColumnKind::Constant).collect();
        let stride = self.x.nrows().div_ceil(LOOKED_AT).max(1);
        let rows: Vec<usize> = (0..self.x.nrows()).filter(|&row| !is_far[row]).step_by(stride).collect();
        // If there are as many columns as rows, they are dependent anyway.
        if rows.len() < columns.len() + 3 || columns.len() > MOST_COLUMNS {
            return Vec::new();
        }
        let mut z = Array2::from_shape_fn((columns.len(), rows.len()), |(i, j)| {
            f64::from(self.x[[rows[j], columns[i]]])
        });
        for mut column in z.rows_mut() {
            let mean = column.mean().unwrap_or(0.0);
            column -= mean;
            let length = column.dot(&column).sqrt();
            if length > 0.0 {
                column /= length;
            }
        }
        // For each direction, the combination of columns that it is.
        let mut directions: Vec<(usize, Vec<f64>)> = Vec::new();
        let mut findings = Vec::new();
        for i in 0..columns.len() {
            let mut rest = z.row(i).to_owned();
            let mut weights = vec![0.0; columns.len()];
            weights[i] = 1.0;
            // Twice is enough (Giraud et al. 2005).
            for _ in 0..2 {
                for (direction, combination) in &directions {
                    let along = rest.dot(&z.index_axis(Axis(0), *direction));
                    rest.scaled_add(-along, &z.index_axis(Axis(0), *direction));
                    weights.iter_mut().zip(combination).for_each(|(weight, part)| *weight -= along * part);
                }
            }
            let residual = rest.dot(&rest).sqrt();
            if residual >= FOLLOWS {
                weights.iter_mut().for_each(|weight| *weight /= residual);
                z.row_mut(i).assign(&(rest / residual));
                directions.push((i, weights));
                continue;
            }
            let name = |i: usize| self.names[columns[i]].clone();
            let on = (0..i).filter(|&other| weights[other].abs() > FOLLOWS).map(name).collect();
            findings.push(Finding::Dependent { column: name(i), on, residual });
        }
        findings
    }
}

/// Whether each value is the previous one plus a fixed step.
fn counts_rows(values: ArrayView1<f32>) -> bool {
    let step = |i: usize| f64::from(values[i + 1]) - f64::from(values[i]);
    values.len() > 2
        && step(0) != 0.0
        && step(0).fract() == 0.0
        && (1..values.len() - 1).all(|i| step(i) == step(0))
}

#[cfg(test)]
mod tests;
