use std::ops::ControlFlow;

use ndarray::s;

use super::EnergyModel;
use super::objective::Contrast;
use super::sampling::Langevin;
use crate::error::{Error, Result};
use crate::generative::{Observer, Step, Stop, TrainOptions, TrainReport};
use crate::train::{Gradient, Objective as _, Progress, Rows, TILE, Trainee, mean_loss, random_rows};

/// How [`train`] moves its chains.
pub(super) struct Persistence {
    pub(super) chains: usize,
    pub(super) langevin: Langevin,
    pub(super) restart: f64,
    pub(super) magnitude: f64,
}

/// Persistent contrastive divergence (Tieleman 2008): in each step the chains move a little under the present
/// energy and stand for exp(−E)/Z; the energy falls at the data and rises at the chains.
///
/// The chains are a state beside the parameters, so this training has its own loop. They live with the
/// shards, each with its share of them, and so follow from the shards' streams.
pub(super) fn train(
    model: &mut EnergyModel,
    persistence: Persistence,
    rows: &Rows,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<TrainReport> {
    let Rows { training, validation, streams, .. } = rows;
    let (dim, optimiser) = (training.ncols(), model.config.optimiser.clone());
    let Persistence { chains, langevin, restart, magnitude } = persistence;
    let mut contrast = Contrast {
        energy: &model.energy,
        langevin,
        chains: chains.div_ceil(options.shards),
        restart,
        magnitude,
        now: (model.parameters.p.clone(), vec![0.0; model.parameters.p.len()]),
    };
    let mut trainee = Trainee::new(&model.parameters);
    let mut gradient = Gradient::new(&contrast, model.parameters.p.len(), options.batch, options.shards);
    let names = contrast.part_names();
    let mut report = TrainReport {
        loss: Vec::with_capacity(options.steps),
        parts: names.iter().map(|&name| (name, Vec::with_capacity(options.steps))).collect(),
        validation: Vec::new(),
        stop: Stop::Completed,
    };
    let fill = random_rows(training.view());
    let mut play = || {
        for step in 0..options.steps {
            let progress = Progress { step, steps: options.steps };
            let (p, t) = &mut contrast.now;
            p.copy_from_slice(&trainee.now().p);
            model.energy.transpose(p, t);
            let family = streams.family(step as u64);
            let loss = gradient.compute(&contrast, &trainee.now().p, dim, progress, family, &fill);
            trainee.step(&optimiser, progress, "loss", loss, gradient.sum())?;
            report.loss.push(loss);
            report.parts.iter_mut().zip(gradient.parts()).for_each(|((_, all), &part)| all.push(part));

            let done = step + 1;
            let due = done.is_multiple_of(options.validate_every) || done == options.steps;
            if validation.nrows() > 0 && due {
                let (p, t) = &mut contrast.now;
                p.copy_from_slice(&trainee.now().average);
                model.energy.transpose(p, t);
                let p = &trainee.now().average;
                let loss = mean_loss(&contrast, p, validation.view(), progress, *streams);
                if !loss.is_finite() {
                    return Err(Error::Diverged { step, what: format!("validation loss = {loss}") });
                }
                report.validation.push((done, loss));
            }
            let seen = Step {
                step,
                steps: options.steps,
                loss,
                part_names: names,
                parts: gradient.parts(),
                validation: report.validation.last().map(|&(_, loss)| loss),
            };
            if let ControlFlow::Break(()) = observer.step(&seen) {
                report.stop = Stop::Interrupted;
                break;
            }
        }
        // No loss has seen the last update yet.
        let some = training.slice(s![..TILE.min(training.nrows()), ..]);
        let progress = Progress { step: report.loss.len(), steps: options.steps };
        for p in [&trainee.now().p, &trainee.now().average] {
            let loss = mean_loss(&contrast, p, some, progress, *streams);
            if !loss.is_finite() {
                return Err(Error::Diverged { step: progress.step, what: format!("loss = {loss}") });
            }
        }
        Ok(())
    };
    let played = play();
    model.parameters = if played.is_ok() { trainee.finish() } else { trainee.last_good() };
    played.map(|()| report)
}
