//! The models of a comparison, several at a time, and those that an earlier run has measured.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use quadrivium::LikelihoodKind;
use quadrivium::metrics::{Nll, Prdc};
use quadrivium::ndarray::Array1;
use quadrivium::recipe::Kind;
use serde_json::{Value, json};

use super::{Distances, Row};
use crate::failure::{Outcome, say};
use crate::files;

/// The results for each of these kinds, in their order: `jobs` at a time, each on one thread if there are several.
pub fn each<T: Send>(kinds: &[Kind], jobs: usize, measure: impl Fn(Kind) -> T + Sync) -> Vec<T> {
    if jobs == 1 {
        return kinds.iter().map(|&kind| measure(kind)).collect();
    }
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(&kind) = kinds.get(place) else { break };
            let result = alone(|| measure(kind));
            results.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
        }
    };
    thread::scope(|scope| (0..jobs.min(kinds.len())).for_each(|_| drop(scope.spawn(work))));
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// On one thread: models that are trained at the same time do not wait for each other's.
fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    #[cfg(feature = "rayon")]
    if let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        return pool.install(work);
    }
    work()
}

/// A folder that keeps what was measured of each model, under a name that says by what.
pub struct Kept {
    folder: PathBuf,
    /// All that the measurement depends on, but for the kind of model.
    of_all: DefaultHasher,
}

impl Kept {
    pub fn new(folder: PathBuf, of_all: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        (env!("CARGO_PKG_VERSION"), quadrivium::instruction_set()).hash(&mut hasher);
        of_all.hash(&mut hasher);
        Kept { folder, of_all: hasher }
    }

    /// What is kept of a model made in this way, or what is measured now, and kept.
    pub fn or(&self, kind: Kind, recipe: &str, measure: impl FnOnce() -> Outcome<Row>) -> Outcome<Row> {
        let mut hasher = self.of_all.clone();
        recipe.hash(&mut hasher);
        let path = self.folder.join(format!("{kind}-{:016x}.json", hasher.finish()));
        let kept = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
        if let Some(row) = kept.and_then(|kept: Value| row_of(kind, &kept)) {
            say(format_args!("{kind}: as measured in {}", path.display()));
            return Ok(row);
        }
        let row = measure()?;
        files::write_text(&path, &format!("{:#}\n", json_of(&row)))?;
        Ok(row)
    }
}

/// Numbers as text, which keeps all their digits, and infinities.
fn texts<'a>(numbers: impl IntoIterator<Item = &'a f64>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("{number:?}")).collect()
}

fn numbers(texts: &Value) -> Option<Vec<f64>> {
    texts.as_array()?.iter().map(|text| text.as_str()?.parse().ok()).collect()
}

fn json_of(row: &Row) -> Value {
    let Row { name, likelihood, nll, nats, distances, train_s, draw_us, .. } = row;
    let Distances { energy, w2, prdc } = distances;
    json!({
        "name": name,
        "likelihood": likelihood.to_string(),
        "nll": nll.map(|Nll { mean, std_error }| texts(&[mean, std_error])),
        "nats": nats.as_ref().map(texts),
        "distances": texts(&[*energy, *w2]),
        "prdc": prdc.as_ref().map(|p| texts(&[p.precision, p.recall, p.density, p.coverage])),
        "seconds": texts(&[*train_s, *draw_us]),
    })
}

/// `None` for what is no measurement.
fn row_of(kind: Kind, kept: &Value) -> Option<Row> {
    use LikelihoodKind::*;
    let some = |name: &str| match &kept[name] {
        Value::Null => Some(None),
        texts => numbers(texts).map(Some),
    };
    let nll = match some("nll")? {
        Some(nll) => Some(Nll { mean: *nll.first()?, std_error: *nll.get(1)? }),
        None => None,
    };
    let prdc = match some("prdc")?.as_deref() {
        Some(&[precision, recall, density, coverage]) => Some(Prdc { precision, recall, density, coverage }),
        Some(_) => return None,
        None => None,
    };
    let ([energy, w2], [train_s, draw_us]) =
        (numbers(&kept["distances"])?.try_into().ok()?, numbers(&kept["seconds"])?.try_into().ok()?);
    let kinds = [Exact, LowerBound, OdeEstimate, Estimate, Unnormalized, Unavailable];
    Some(Row {
        kind,
        name: kept["name"].as_str()?.to_owned(),
        likelihood: kinds.into_iter().find(|kind| kept["likelihood"] == kind.to_string())?,
        nll,
        nats: some("nats")?.map(Array1::from),
        distances: Distances { energy, w2, prdc },
        train_s,
        draw_us,
    })
}
