//! The figures as tables, as JSON, and in plain words.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use quadrivium::map::LikelihoodKind;
use quadrivium::metrics::Floor;

use crate::measure::Figures;
use crate::source::Split;

/// All seeds of one data set: `figures[seed][model]`.
pub struct Results {
    pub data: String,
    pub splits: Vec<Summary>,
    pub figures: Vec<Vec<Figures>>,
}

/// What is kept of a split after its rows are dropped.
pub struct Summary {
    pub note: &'static str,
    pub entropy: Option<f64>,
    pub gaussian: Option<f64>,
    pub floors: Vec<f64>,
}

impl From<&Split> for Summary {
    fn from(split: &Split) -> Self {
        Summary {
            note: split.note,
            entropy: split.entropy,
            gaussian: gaussian_nll(split),
            floors: split.floors.clone(),
        }
    }
}

fn gaussian_nll(split: &Split) -> Option<f64> {
    let reference = split.reference.as_ref().filter(|_| split.entropy.is_none())?;
    Some(-reference.mean()?)
}

/// Mean and, for two or more values, sample standard deviation.
#[derive(Clone, Copy)]
struct Stat {
    mean: f64,
    sd: Option<f64>,
}

impl Stat {
    fn of(values: impl Iterator<Item = f64>) -> Option<Stat> {
        let values: Vec<f64> = values.collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        (n > 0.0).then(|| Stat { mean, sd: (n > 1.0).then(|| (squares / (n - 1.0)).sqrt()) })
    }

    fn show(self, digits: usize) -> String {
        match self.sd {
            Some(sd) => format!("{:.digits$} ± {sd:.digits$}", self.mean),
            None => format!("{:.digits$}", self.mean),
        }
    }

    fn show_signed(self, digits: usize) -> String {
        let sign = if self.mean < 0.0 { "" } else { "+" };
        format!("{sign}{}", self.show(digits))
    }

    /// Three significant digits: for times, which span six decades.
    fn show_time(self) -> String {
        let digits = (2 - self.mean.abs().max(1e-9).log10().floor() as i32).clamp(0, 3) as usize;
        self.show(digits)
    }
}

fn dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "–".into())
}

impl Results {
    fn models(&self) -> usize {
        self.figures[0].len()
    }

    fn stat(&self, model: usize, value: impl Fn(&Figures) -> Option<f64>) -> Option<Stat> {
        Stat::of(self.figures.iter().filter_map(|seed| value(&seed[model])))
    }

    fn split_stat(&self, value: impl Fn(&Summary) -> Option<f64>) -> Option<Stat> {
        Stat::of(self.splits.iter().filter_map(value))
    }

    fn has_modes(&self) -> bool {
        self.figures[0][0].modes.is_some()
    }

    /// What was measured, a model per row; unless `wide`, in at most 100 columns of text.
    pub fn table(&self, wide: bool) -> Table {
        let (header, rows) = if wide { self.cells() } else { self.few_cells() };
        let mut table = markdown();
        table.set_header(header.clone());
        table.add_rows(rows);
        for column in 1..header.len() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// All column names, and the cells of each row.
    pub fn cells(&self) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let mut header = vec!["model", "nfe", "µs alone", "µs in bulk", "likelihood", "NLL", "gap"];
        if self.has_modes() {
            header.extend(["modes", "fair", "in 3σ", "spread", "KL of mode shares"]);
        }
        header.extend(["energy distance", "train s"]);
        let row = |model: usize| {
            let first = &self.figures[0][model];
            let stat = |value: fn(&Figures) -> Option<f64>| self.stat(model, value);
            let bound = match first.likelihood {
                LikelihoodKind::LowerBound => " (upper bound)",
                _ => "",
            };
            let mut row = vec![
                first.card.name.to_string(),
                first.nfe.to_string(),
                self.time(model, |f| Some(f.us_single)),
                self.time(model, |f| Some(f.us_bulk)),
                first.likelihood.to_string(),
                dash(stat(|f| f.nll).map(|s| format!("{}{bound}", s.show(3)))),
                dash(stat(|f| f.gap).map(|s| s.show_signed(3))),
            ];
            if self.has_modes() {
                let modes = first.modes.map_or(0, |m| m.total);
                row.extend([
                    dash(stat(|f| Some(f.modes?.modes as f64)).map(|s| format!("{} of {modes}", count(s)))),
                    dash(stat(|f| Some(f.modes?.modes_fair as f64)).map(count)),
                    self.high_quality(model),
                    dash(stat(|f| f.modes?.spread_ratio).map(|s| s.show(2))),
                    dash(stat(|f| Some(f.modes?.mode_kl)).map(|s| s.show(3))),
                ]);
            }
            row.extend([self.energy(model), self.time(model, |f| Some(f.train_s))]);
            row
        };
        (header, (0..self.models()).map(row).collect())
    }

    /// The columns that tell most, with the kind of likelihood as a sign before the gap.
    fn few_cells(&self) -> (Vec<&'static str>, Vec<Vec<String>>) {
        // Without a reference there is no gap.
        let gaps = self.split_stat(|s| s.entropy.or(s.gaussian)).is_some();
        let mut header = vec!["model", "µs in bulk", if gaps { "gap" } else { "NLL" }];
        header.extend(self.has_modes().then_some("in 3σ"));
        header.push("energy distance");
        let row = |model: usize| {
            let first = &self.figures[0][model];
            let sign = match first.likelihood {
                LikelihoodKind::LowerBound => "≤ ",
                LikelihoodKind::OdeEstimate | LikelihoodKind::Estimate => "≈ ",
                _ => "",
            };
            let nats = match gaps {
                true => self.stat(model, |f| f.gap).map(|s| s.show_signed(3)),
                false => self.stat(model, |f| f.nll).map(|s| s.show(3)),
            };
            let nats = dash(nats.map(|nats| format!("{sign}{nats}")));
            let mut row = vec![first.card.name.to_string(), self.time(model, |f| Some(f.us_bulk)), nats];
            row.extend(self.has_modes().then(|| self.high_quality(model)));
            row.push(self.energy(model));
            row
        };
        (header, (0..self.models()).map(row).collect())
    }

    fn time(&self, model: usize, value: fn(&Figures) -> Option<f64>) -> String {
        dash(self.stat(model, value).map(Stat::show_time))
    }

    /// The share of rows in 3σ of a mode, marked where the modes are too narrow.
    fn high_quality(&self, model: usize) -> String {
        let share = self.stat(model, |f| Some(100.0 * f.modes?.high_quality));
        let mark = if self.too_narrow(model) { " †" } else { "" };
        dash(share.map(|s| format!("{} %{mark}", s.show(1))))
    }

    /// The energy distance, marked where it is at the floor.
    fn energy(&self, model: usize) -> String {
        let floor = self.energy_floor();
        let at = |mean| floor.as_ref().is_some_and(|floor| floor.holds(mean));
        let energy = self.stat(model, |f| Some(f.energy));
        dash(energy.map(|s| format!("{}{}", s.show(4), if at(s.mean) { " ✓" } else { "" })))
    }

    /// Of each model: its name and paradigm, µs per row in bulk, energy distance.
    #[cfg(feature = "plot")]
    pub fn latency_and_quality(&self) -> Vec<(String, quadrivium::map::Paradigm, f64, f64)> {
        let mean =
            |model, value: fn(&Figures) -> Option<f64>| self.stat(model, value).map_or(f64::NAN, |s| s.mean);
        let row = |model: usize| {
            let card = &self.figures[0][model].card;
            let (micros, energy) = (mean(model, |f| Some(f.us_bulk)), mean(model, |f| Some(f.energy)));
            (card.name.to_string(), card.paradigm, micros, energy)
        };
        (0..self.models()).map(row).collect()
    }

    /// The energy distance of a perfect sampler: the pairs of all seeds, for means over the seeds.
    pub fn energy_floor(&self) -> Option<Floor> {
        let pairs: Vec<f64> = self.splits.iter().flat_map(|split| split.floors.iter().copied()).collect();
        Floor::of(&pairs, self.figures.len()).ok()
    }

    /// Whether most seeds find the modes of a model too narrow.
    fn too_narrow(&self, model: usize) -> bool {
        let narrow = |seed: &&Vec<Figures>| seed[model].modes.is_some_and(|modes| modes.too_narrow);
        2 * self.figures.iter().filter(narrow).count() > self.figures.len()
    }

    /// The truth's own figures, and how to read the table's; `wide` as in [`table`](Results::table).
    pub fn reference(&self, wide: bool) -> String {
        let (mut text, pair) = match (self.split_stat(|s| s.entropy), self.split_stat(|s| s.gaussian)) {
            (Some(entropy), _) => (
                format!(
                    "Exact entropy {:.4} nats: no model's expected NLL can be lower; on a finite test set it may fall below by \
                     chance. \"gap\" is a model's NLL minus the truth's on the same rows, in nats.",
                    entropy.mean,
                ),
                "Two samples of the truth",
            ),
            (None, gaussian) => (
                match gaussian {
                    Some(gaussian) => format!(
                        "{}The truth is unknown. NLL is on held-out rows, and \"gap\" is a model's NLL minus that of one \
                         full-covariance Gaussian on the same rows, which is {} nats; below 0 is better.",
                        self.splits[0].note,
                        gaussian.show(3)
                    ),
                    None => format!(
                        "{}The truth is unknown, and no Gaussian can be fitted, because columns depend on each other linearly. \
                         NLL is on held-out rows.",
                        self.splits[0].note
                    ),
                },
                "Two random parts of the rows, as large as the training and the test set and with standardized columns,",
            ),
        };
        text += " All models are scored on the same rows.";
        text += match wide {
            true => " A lower bound on log p makes the NLL and the gap upper bounds.",
            false => " ≤ marks an upper bound, from a lower bound on log p; ≈ marks an estimate.",
        };
        text += " nfe is the number of network evaluations per row drawn.";
        if let Some(floor) = self.energy_floor() {
            text += &format!(
                " {pair} have an energy distance of {:.4} ± {:.4} (mean ± standard deviation of {} pairs). A model marked ✓ is at \
                 that floor: its distance is at most {:.4}, the mean plus two standard errors of {}. Differences between models \
                 at the floor are chance.",
                floor.mean,
                floor.sd,
                floor.pairs,
                floor.reach(),
                match floor.draws {
                    1 => "one draw".into(),
                    draws => format!("a mean over {draws} draws"),
                }
            );
        }
        if let Some(modes) = self.figures[0][0].modes {
            text += &format!(
                " A perfect sampler has {:.1} % of its rows within 3σ of a mode{}. † marks modes that are narrower than the \
                 truth's in most seeds, by more than chance: then a high share is not a merit.",
                100.0 * modes.perfect_high_quality,
                if wide { " and a spread of 1" } else { "" },
            );
        }
        text
    }

    fn json_rows(&self) -> Vec<Value> {
        let stat_mean = |model, value: fn(&Figures) -> Option<f64>| self.stat(model, value).map(|s| s.mean);
        let rows = (0..self.models()).map(|model| {
            let first = &self.figures[0][model];
            json!({
                "model": first.card.name,
                "paradigm": first.card.paradigm.to_string(),
                "sampler": first.card.sampling.to_string(),
                "data": self.data,
                "nfe_predicted": first.card.nfe,
                "nfe_counted": first.nfe,
                "us_single": stat_mean(model, |f| Some(f.us_single)),
                "us_bulk": stat_mean(model, |f| Some(f.us_bulk)),
                "likelihood": first.likelihood.to_string(),
                "nll": self.stat(model, |f| f.nll).map(|s| json!({"mean": s.mean, "sd": s.sd})),
                "entropy": self.split_stat(|s| s.entropy).map(|s| s.mean),
                "modes": stat_mean(model, |f| Some(f.modes?.modes as f64)),
                "modes_fair": stat_mean(model, |f| Some(f.modes?.modes_fair as f64)),
                "modes_total": first.modes.map(|m| m.total),
                "high_quality": stat_mean(model, |f| Some(f.modes?.high_quality)),
                "spread_ratio": stat_mean(model, |f| f.modes?.spread_ratio),
                "too_narrow": first.modes.map(|_| self.too_narrow(model)),
                "kl_of_mode_shares": stat_mean(model, |f| Some(f.modes?.mode_kl)),
                "energy_distance": stat_mean(model, |f| Some(f.energy)),
                "energy_floor": self.energy_floor().map(|floor| {
                    json!({"mean": floor.mean, "sd": floor.sd, "pairs": floor.pairs, "reach": floor.reach()})
                }),
                "train_s": stat_mean(model, |f| Some(f.train_s)),
            })
        });
        rows.collect()
    }

    /// The model with the smallest `value`.
    fn best(&self, value: impl Fn(&Figures) -> Option<f64>) -> Option<(&str, f64)> {
        (0..self.models())
            .filter_map(|m| Some((self.figures[0][m].card.name.as_ref(), self.stat(m, &value)?.mean)))
            .filter(|(_, v)| v.is_finite())
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn of(&self, name: &str, value: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
        let model = (0..self.models()).find(|&m| self.figures[0][m].card.name == name)?;
        self.stat(model, value).map(|s| s.mean)
    }

    /// Which models of the table beat the Gaussian mixture by NLL, on the same rows of the same seeds.
    fn against_the_mixture(&self) -> Option<String> {
        let name = |model: usize| self.figures[0][model].card.name.as_ref();
        let mixture = (0..self.models()).find(|&model| name(model).starts_with("Gaussian mixture"))?;
        let mut gains: Vec<(&str, Stat)> = (0..self.models())
            .filter_map(|model| {
                let gain = |seed: &Vec<Figures>| Some(seed[mixture].gap? - seed[model].gap?);
                Some((name(model), Stat::of(self.figures.iter().filter_map(gain))?))
            })
            .collect();
        // A diffusion's samplers share one likelihood.
        gains.dedup_by_key(|(_, gain)| gain.mean);
        let seeds = self.figures.len() as f64;
        let better: Vec<String> = (gains.iter())
            .filter(|(_, gain)| gain.mean > gain.sd.map_or(0.0, |sd| 2.0 * sd / seeds.sqrt()))
            .map(|(name, gain)| format!("{name} ({} nats)", gain.show(3)))
            .collect();
        let how = match self.figures.len() {
            1 => "on this one seed",
            _ => "by more than two standard errors over the seeds",
        };
        Some(match better.is_empty() {
            true => format!("No model beats the Gaussian mixture by NLL {how}."),
            false => format!("Better than the Gaussian mixture by NLL, {how}: {}.", better.join(", ")),
        })
    }

    /// A short reading of the table.
    pub fn reading(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let bulk = |f: &Figures| Some(f.us_bulk);
        if let (Some((fast, t)), Some(slow)) = (self.best(bulk), self.of("DDPM-1000", bulk)) {
            lines.push(format!(
                "Fastest in bulk: {fast}, {t:.2} µs per row. DDPM-1000 takes {:.0}× as long.",
                slow / t
            ));
        }
        if let (Some(ddpm), Some(ddim)) = (self.of("DDPM-1000", bulk), self.of("DDIM-50", bulk)) {
            let energy = |name| {
                let energy = self.of(name, |f| Some(f.energy)).unwrap_or(f64::NAN);
                let at = self.energy_floor().is_some_and(|floor| floor.holds(energy));
                format!("{energy:.4}{}", if at { " (at the floor)" } else { "" })
            };
            lines.push(format!(
                "From the same trained network, DDIM in 50 steps draws {:.1}× faster than DDPM in 1000, with an energy distance of \
                 {} against {}; in 10 steps it is {}.",
                ddpm / ddim,
                energy("DDIM-50"),
                energy("DDPM-1000"),
                energy("DDIM-10")
            ));
        }
        if let Some((name, gap)) = self.best(|f| f.gap) {
            let against = match self.splits[0].entropy {
                Some(_) => format!("{gap:.3} nats per row above the truth's"),
                None if gap < 0.0 => format!("{:.3} nats per row below a single Gaussian", -gap),
                None => format!("{gap:.3} nats per row above a single Gaussian"),
            };
            lines.push(format!(
                "Best NLL: {name}, {against}. A bound or an ODE estimate is a weaker claim than an exact value, and the GANs have \
                 no likelihood."
            ));
        }
        lines.extend(self.against_the_mixture());
        if self.has_modes() {
            let sorted = |value: fn(&Figures) -> Option<f64>| {
                let mut all: Vec<(&str, f64)> = (0..self.models())
                    .filter_map(|m| Some((self.figures[0][m].card.name.as_ref(), self.stat(m, value)?.mean)))
                    .collect();
                all.sort_by(|a, b| b.1.total_cmp(&a.1));
                all
            };
            // Nearness to a perfect sampler, not the share itself: modes that are too narrow have more.
            let off =
                |f: &Figures| f.modes.map(|modes| (modes.high_quality - modes.perfect_high_quality).abs());
            let shares: Vec<(usize, f64)> = (0..self.models())
                .filter(|&model| !self.too_narrow(model))
                .filter_map(|model| Some((model, self.stat(model, off)?.mean)))
                .collect();
            let total = self.figures[0][0].modes.map_or(0, |m| m.total) as f64;
            let collapsed: Vec<String> = sorted(|f| Some(f.modes?.modes_fair as f64))
                .into_iter()
                .filter(|(_, fair)| *fair < total)
                .map(|(name, fair)| format!("{name} ({fair:.1} of {total})"))
                .collect();
            let best = shares.iter().min_by(|a, b| a.1.total_cmp(&b.1));
            let worst = shares.iter().max_by(|a, b| a.1.total_cmp(&b.1));
            if let (Some(best), Some(worst)) = (best, worst) {
                let told = |&(model, _): &(usize, f64)| {
                    let mean = |value: fn(&Figures) -> Option<f64>| {
                        self.stat(model, value).map_or(f64::NAN, |s| s.mean)
                    };
                    format!(
                        "{} ({:.1} % in 3σ, spread {:.2})",
                        self.figures[0][model].card.name,
                        mean(|f| Some(100.0 * f.modes?.high_quality)),
                        mean(|f| f.modes?.spread_ratio)
                    )
                };
                lines.push(format!(
                    "Closest to a perfect sampler's modes: {}. Furthest, among models whose modes are not too narrow: {}.",
                    told(best),
                    told(worst)
                ));
            }
            lines.push(if collapsed.is_empty() {
                "Every model draws every mode at least a fifth as often as it should.".into()
            } else {
                format!(
                    "Modes drawn at least a fifth as often as they should be, where not all are: {}.",
                    collapsed.join(", ")
                )
            });
        }
        let wrong: Vec<&str> = self.figures[0]
            .iter()
            .filter(|f| f.card.nfe != f.nfe || f.card.likelihood != f.likelihood)
            .map(|f| f.card.name.as_ref())
            .collect();
        lines.push(if wrong.is_empty() {
            "The predicted network evaluations and kinds of likelihood agree with the measured ones in every row."
                .into()
        } else {
            format!("The card is WRONG about: {}.", wrong.join(", "))
        });
        lines
    }
}

fn count(stat: Stat) -> String {
    match stat.sd {
        Some(_) => stat.show(1),
        None => format!("{:.0}", stat.mean),
    }
}

fn markdown() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table
}

/// The predictions of the map for each model; unless `wide`, in at most 100 characters per line.
pub fn predictions(results: &Results, wide: bool) -> Table {
    let (header, rows) = predictions_cells(results);
    let few = ["model", "training objective", "latency", "nfe", "likelihood"];
    let shown = |column: &usize| wide || few.contains(&header[*column]);
    let columns: Vec<usize> = (0..header.len()).filter(shown).collect();
    let mut table = markdown();
    table.set_header(columns.iter().map(|&column| header[column]));
    for row in &rows {
        table.add_row(columns.iter().map(|&column| &row[column]));
    }
    table
}

/// All column names of the predictions, and the cells of each row.
pub fn predictions_cells(results: &Results) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let header = vec![
        "model",
        "paradigm",
        "training objective",
        "which measures",
        "sampling",
        "latency",
        "nfe",
        "likelihood",
        "failure modes",
    ];
    let row = |figures: &Figures| {
        let card = &figures.card;
        let failures: Vec<String> = card.failures.iter().map(|f| f.to_string()).collect();
        vec![
            card.name.to_string(),
            card.paradigm.to_string(),
            card.objective.to_string(),
            card.divergence.to_string(),
            card.sampling.to_string(),
            card.latency.to_string(),
            card.nfe.to_string(),
            card.likelihood.to_string(),
            failures.join(", "),
        ]
    };
    (header, results.figures[0].iter().map(row).collect())
}

/// Every figure, in machine-readable form. A number that is not finite is null.
pub fn json(all: &[Results], seeds: usize, threads: usize) -> Value {
    let rows: Vec<Value> = all.iter().flat_map(Results::json_rows).collect();
    json!({ "rows": rows, "seeds": seeds, "threads": threads })
}
