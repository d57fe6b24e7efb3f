//! Preparing rows for a model, and saying what was done to them.

use quadrivium::Dataset;
use quadrivium::persist::{Column, Role, condition_of};
use quadrivium::tables::{Cells, ColumnKind, Finding, Step, Table};

use crate::condition::{Asked, all_values};
use crate::failure::{Failure, Outcome, counted, of_file, say};
use crate::input::{Data, MayHold, Read};
use crate::seed::Purpose;
use crate::units;

/// What to do with columns that have no density.
#[derive(clap::Args)]
pub struct Treatment {
    /// Add uniform noise to rounded columns (whole numbers, tenths, …), up to half a step to either side.
    #[arg(long, alias = "dequantise")]
    dequantize: bool,
    /// Leave out columns that hold only one value.
    #[arg(long)]
    drop_constant: bool,
    /// Leave out rows in which a value is missing.
    #[arg(long)]
    drop_missing: bool,
    /// If the model has maps of its own for columns, which take care of steps and constants: the columns said to hold
    /// labels.
    #[arg(skip)]
    labels: Option<Vec<String>>,
}

impl Treatment {
    /// Whether rounded columns are spread.
    pub fn spreads(&self) -> bool {
        self.dequantize
    }

    /// Whether constant columns are left out.
    pub fn drops_constant(&self) -> bool {
        self.drop_constant
    }

    /// Whether rows with gaps are left out.
    pub fn drops_missing(&self) -> bool {
        self.drop_missing
    }

    fn may_hold(&self) -> MayHold {
        match (&self.labels, self.drop_missing) {
            (Some(labels), _) => MayHold::All { labels: labels.clone() },
            (None, true) => MayHold::Gaps,
            (None, false) => MayHold::Numbers,
        }
    }

    /// The same, for a model of columns of which this is said.
    pub fn of(&self, units: &units::Said) -> Outcome<Self> {
        let labels = units.have_maps(self.dequantize)?.then(|| units.categories());
        Ok(Treatment { labels, ..*self })
    }

    /// Whether the model has maps of its own for columns.
    pub fn has_maps(&self) -> bool {
        self.labels.is_some()
    }
}

/// Rows prepared for a model.
pub struct Prepared {
    /// The modeled columns, and the condition of each row if there is one.
    pub data: Dataset,
    /// The units of the modeled columns.
    pub names: Vec<String>,
    /// Converts a log-density of the rows to the units of the file.
    pub log_scale: f64,
    /// All columns, in the order of the file or of the command line.
    pub columns: Vec<Column>,
    /// The grids of the modeled columns, in the units of the file.
    pub steps: Vec<Option<Step>>,
}

/// Prepares the rows for a model, with their columns. Reports what was done to them and what harms a density.
pub fn prepare(data: &Data, asked: &Asked, treatment: &Treatment, seed: u64) -> Outcome<Prepared> {
    let (Read { mut table, is_given, mut cells, steps: written }, name) =
        (data.read(&asked.condition, &treatment.may_hold())?, data.name());
    if treatment.drop_missing {
        let all = table.x.nrows();
        match table.drop_missing(&mut cells) {
            0 => say(format_args!("{name}: no value is missing: --drop-missing has no effect")),
            dropped if dropped == all => {
                return Err(Failure::Operation(format!("{name}: a value is missing in every row")));
            }
            dropped => {
                let rows = counted(dropped, "row");
                say(format_args!("{name}: {rows} of {all} left out because a value is missing"));
            }
        }
    }
    if table.x.nrows() == 1 {
        return Err(Failure::Operation(format!("{name}: one row: expected at least two")));
    }
    tell_rounded(&table.names, &table.rounded, &name);
    let order = table.names.clone();
    let (mut condition, mut columns) = (None, Vec::new());
    if is_given.contains(&true) {
        let part = |given: bool| {
            let names = order.iter().zip(&is_given).filter(|(_, is_given)| **is_given == given);
            table.select(&names.map(|(name, _)| name).collect::<Vec<_>>())
        };
        let (given, rest) = (part(true)?, part(false)?);
        let of_given = cells.iter().zip(&is_given).filter(|(_, is_given)| **is_given);
        let of_given: Vec<Cells> = of_given.map(|(cells, _)| cells.clone()).collect();
        columns = asked.columns(&given, &of_given, &name)?;
        condition = Some(condition_of(&columns, all_values(&given).view())?);
        table = rest;
    }
    if !treatment.has_maps() || treatment.drop_constant {
        without_constant(&mut table, &name, treatment.drop_constant)?;
    }
    tell_findings(&harm(&table, &order, &cells, treatment.has_maps())?, &name);
    let mut steps = table.steps();
    if treatment.has_maps() {
        // Decimals that f32 does not resolve are none to spread by, but those of what is drawn.
        for (name, step) in table.names.iter().zip(&mut steps) {
            let place = order.iter().position(|other| other == name);
            *step = step.or_else(|| written[place?]);
        }
    }
    let stepped = table.names.iter().zip(&steps);
    let stepped: Vec<String> =
        stepped.filter_map(|(column, step)| step.map(|step| format!("{column} ({step})"))).collect();
    if treatment.dequantize {
        table = table
            .dequantize(&mut Purpose::SpreadToLearn.stream(seed))
            .map_err(|error| of_file(&name, error))?;
        match stepped.is_empty() {
            true => say(format_args!(
                "{name}: no column is rounded to steps that f32 resolves: --dequantize has no effect"
            )),
            false => {
                say(format_args!("{name}: added uniform noise to rounded columns: {}", shortened(&stepped)))
            }
        }
    } else if !stepped.is_empty() && !treatment.has_maps() {
        say(format_args!(
            "{name}: rounded columns: {}. Repeated values have no density and make the likelihood unbounded; \
             --dequantize adds noise to them, and --units auto models them as they are",
            shortened(&stepped)
        ));
    }
    columns.extend(table.names.iter().zip(&steps).zip(&table.units).map(|((name, step), &units)| {
        let step = step.filter(|_| treatment.dequantize);
        let (width, offset) = step.map_or((0.0, 0.0), |step| (step.width, step.offset));
        let place = order.iter().position(|other| other == name);
        let cells = place.map_or(Cells::Numbers, |place| cells[place].clone());
        Column { name: name.clone(), width, offset, units, role: Role::Modeled, cells }
    }));
    columns.sort_by_key(|column| order.iter().position(|name| *name == column.name));
    let log_scale = table.log_scale();
    let data = Dataset::new(table.x).map_err(|error| of_file(&name, error))?;
    let data = match condition {
        None => data,
        Some(condition) => data.with_condition(condition)?,
    };
    Ok(Prepared { data, names: table.names, log_scale, columns, steps })
}

/// What harms a density. If columns have maps, that is what these cannot mend, found in the columns that hold nothing but
/// numbers; `cells` are those of the columns in their `order`.
fn harm(table: &Table, order: &[String], cells: &[Cells], have_maps: bool) -> Outcome<Vec<Finding>> {
    if !have_maps {
        return Ok(table.diagnose());
    }
    let are_numbers =
        |name: &&String| order.iter().zip(cells).any(|(other, cells)| other == *name && cells.are_numbers());
    let numbers: Vec<&String> = table.names.iter().filter(are_numbers).collect();
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = table.select(&numbers)?.diagnose();
    found.retain(|finding| matches!(finding, Finding::CountsRows { .. } | Finding::Dependent { .. }));
    Ok(found)
}

/// Reports what harms a density, if [`prepare`] does not report it itself.
fn tell_findings(findings: &[Finding], name: &str) {
    let told = |finding: &&Finding| {
        !matches!(finding, Finding::Constant { .. } | Finding::Rounded { .. } | Finding::Stepped { .. })
    };
    let findings: Vec<&Finding> = findings.iter().filter(told).collect();
    for (i, finding) in findings.iter().enumerate() {
        let alike = |other: &&&Finding| std::mem::discriminant(**other) == std::mem::discriminant(*finding);
        match findings[..i].iter().filter(alike).count() {
            0..LISTED => say(format_args!("{name}: {finding}")),
            LISTED => {
                let more = findings[i..].iter().filter(alike).count();
                say(format_args!("{name}: and {} more of this kind", counted(more, "column")));
            }
            _ => {}
        }
    }
}

/// The names of at most this many columns.
const LISTED: usize = 8;

fn shortened(columns: &[String]) -> String {
    match columns.get(..LISTED) {
        Some(first) if columns.len() > LISTED => {
            format!("{} and {} more", first.join(", "), columns.len() - LISTED)
        }
        _ => columns.join(", "),
    }
}

/// Reports the columns whose values differ from those of the file, with the number of such values.
pub fn tell_rounded(names: &[impl AsRef<str>], rounded: &[usize], data: &str) {
    let rounded = names.iter().zip(rounded).filter(|(_, values)| **values > 0);
    let columns: Vec<String> =
        rounded.map(|(name, &values)| format!("{} ({})", name.as_ref(), counted(values, "value"))).collect();
    if !columns.is_empty() {
        say(format_args!(
            "{data}: whole numbers that do not fit into the 24 bits of f32 were rounded: {}. Subtract a constant",
            shortened(&columns)
        ));
    }
}

/// Leaves out columns of one value, or refuses them.
fn without_constant(table: &mut Table, name: &str, drop: bool) -> Outcome<()> {
    let kinds = table.names.iter().zip(table.kinds());
    let constant = kinds.filter(|(_, kind)| *kind == ColumnKind::Constant).map(|(name, _)| name.clone());
    let constant: Vec<String> = constant.collect();
    let Some(first) = constant.first() else { return Ok(()) };
    if !drop {
        let column = table.names.iter().position(|name| name == first).unwrap_or_default();
        let once = if table.rounded[column] > 0 { ", once they are rounded" } else { "" };
        return Err(Failure::Operation(format!(
            "{name}: column {first} holds {} in all {} rows{once}, so there is nothing to learn: leave it out \
             with --drop-constant, or choose columns with --columns",
            table.value(0, column),
            table.x.nrows(),
        )));
    }
    if constant.len() == table.names.len() {
        return Err(Failure::Operation(format!("{name}: every column holds only one value")));
    }
    say(format_args!("{name}: left out because they hold only one value: {}", constant.join(", ")));
    table.drop_constant();
    Ok(())
}
