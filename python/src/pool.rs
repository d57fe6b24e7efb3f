//! Work on threads of its own, while the thread that Python called looks for Ctrl-C.

use std::ops::ControlFlow;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use quadrivium::{Observer, Step};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::failure::wrong;

/// How long Ctrl-C may wait until it is noticed.
const PATIENCE: Duration = Duration::from_millis(50);

/// The threads of a process. A fork has none of its parent's threads, and work that is given to them would wait for
/// ever.
struct Threads {
    process: u32,
    pool: Arc<ThreadPool>,
}

/// Locked for moments, by whoever holds the interpreter, which a fork waits for: no fork finds it locked.
static THREADS: Mutex<Option<Threads>> = Mutex::new(None);

/// The number of threads that `n_jobs` asks for: all by default; −1 is all, −2 one less, as in scikit-learn.
fn count(jobs: Option<i64>) -> PyResult<usize> {
    let all = || thread::available_parallelism().map_or(1, |all| all.get());
    let asked = || std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    match jobs {
        None => Ok(asked().filter(|&threads| threads > 0).unwrap_or_else(all)),
        Some(0) => Err(wrong("n_jobs = 0: expected a number of threads, or -1 for all")),
        Some(jobs @ 1..) => Ok(usize::try_from(jobs).unwrap_or(usize::MAX).min(MOST)),
        Some(jobs) => Ok(all().saturating_sub(jobs.unsigned_abs() as usize - 1).max(1)),
    }
}

/// More threads than any machine has.
const MOST: usize = 1024;

/// The threads of this process.
fn pool(jobs: Option<i64>) -> PyResult<Arc<ThreadPool>> {
    let (process, wanted) = (process::id(), count(jobs)?);
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    match threads.take() {
        Some(found) if found.process != process => {
            // Ending threads that are not there would wait for them.
            std::mem::forget(found.pool);
        }
        Some(found) if found.pool.current_num_threads() == wanted => {
            return Ok(threads.insert(found).pool.clone());
        }
        // Others may still work there; the last of them ends the threads.
        _ => {}
    }
    let pool = ThreadPoolBuilder::new().num_threads(wanted).build();
    let pool = Arc::new(pool.map_err(|error| wrong(format!("n_jobs: {wanted} threads: {error}")))?);
    Ok(threads.insert(Threads { process, pool }).pool.clone())
}

/// What work asks now and then: whether it is to end.
pub struct Watch<'a> {
    stop: &'a AtomicBool,
    /// Its end is the end of the work.
    steps: Sender<(usize, f64)>,
    /// What a callback says to each step, if there is one.
    answers: Option<Receiver<ControlFlow<()>>>,
}

impl Watch<'_> {
    /// Whether Ctrl-C was pressed, or a callback has asked for an end or failed.
    pub fn is_raised(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Observer for Watch<'_> {
    fn step(&mut self, step: &Step<'_>) -> ControlFlow<()> {
        if self.is_raised() {
            return ControlFlow::Break(());
        }
        let Some(answers) = &self.answers else { return ControlFlow::Continue(()) };
        let flow = match self.steps.send((step.step + 1, step.loss)) {
            Ok(()) => answers.recv().unwrap_or(ControlFlow::Break(())),
            Err(_) => ControlFlow::Break(()),
        };
        // Whoever has asked for an end is not asked again, if the work takes some more steps to get there.
        if flow.is_break() {
            self.stop.store(true, Ordering::Relaxed);
        }
        flow
    }
}

/// Does the work on the threads of this process, without the interpreter, and calls `callback` with each step. If
/// Ctrl-C is pressed or the callback fails, the work is told to end, and its result comes with the exception.
pub fn run<T: Send>(
    py: Python<'_>,
    jobs: Option<i64>,
    callback: Option<Py<PyAny>>,
    work: impl FnOnce(Watch<'_>) -> T + Send,
) -> PyResult<(T, Option<PyErr>)> {
    let pool = pool(jobs)?;
    let stop = &AtomicBool::new(false);
    let (steps, seen) = channel();
    let (answer, answers) = channel();
    let answers = callback.is_some().then_some(answers);
    let watch = Watch { stop, steps, answers };
    let asked = |step: usize, loss: f64| -> PyResult<bool> {
        Python::attach(|py| {
            let said = match &callback {
                Some(callback) => callback.bind(py).call1((step, loss))?.is_truthy()?,
                None => false,
            };
            py.check_signals()?;
            Ok(said)
        })
    };
    let (done, raised) = py.detach(|| {
        let (mut done, mut raised) = (None, None);
        let (place, ended) = (&mut done, &mut raised);
        pool.in_place_scope(move |scope| {
            scope.spawn(move |_| *place = Some(work(watch)));
            loop {
                let failed = match seen.recv_timeout(PATIENCE) {
                    Ok((step, loss)) => {
                        let said = asked(step, loss);
                        let flow = match said {
                            Ok(false) => ControlFlow::Continue(()),
                            _ => ControlFlow::Break(()),
                        };
                        // Nobody waits for an answer if the work has ended.
                        answer.send(flow).ok();
                        said.err()
                    }
                    Err(RecvTimeoutError::Timeout) => Python::attach(|py| py.check_signals()).err(),
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if let Some(error) = failed {
                    stop.store(true, Ordering::Relaxed);
                    ended.get_or_insert(error);
                }
            }
        });
        (done, raised)
    });
    match done {
        Some(done) => Ok((done, raised)),
        None => Err(wrong("the work ended without a result")),
    }
}

/// Work that is worth nothing if it ends early.
pub fn whole<T: Send>(
    py: Python<'_>,
    jobs: Option<i64>,
    work: impl FnOnce(Watch<'_>) -> T + Send,
) -> PyResult<T> {
    match run(py, jobs, None, work)? {
        (done, None) => Ok(done),
        (_, Some(raised)) => Err(raised),
    }
}
