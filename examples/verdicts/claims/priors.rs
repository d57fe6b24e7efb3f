//! What stands behind a VAE in the place of N(0, I).

use std::rc::Rc;

use quadrivium::Sampler;
use quadrivium::hybrid::{Latent, LatentConfig};
use quadrivium::ndarray::s;
use quadrivium::prelude::*;

use crate::claim::{Bound, Finding};
use crate::lab::{Lab, Outcome};
use crate::spots::{self, JUDGED, LATENTS};
use crate::statistics;

/// A flow of the latents of all pictures.
fn flow(lab: &Lab, seed: u64) -> Outcome<Rc<Flow>> {
    lab.kept("flow of latents of spots", seed, || {
        let (spots, latent) = (spots::world(lab, seed)?, spots::latent_diffusion(lab, seed)?);
        let streams = lab.streams(seed).family(79);
        let mut flow = Flow::new(FlowConfig { dim: LATENTS, ..Default::default() }, &mut streams.stream(0))?;
        let latents = latent.model.latents(&spots.bare()?, seed)?;
        flow.train(&latents, &spots::options(1_000), &mut streams.stream(1), &mut NoObserver)?;
        Ok(flow)
    })
}

pub fn richer(lab: &Lab) -> Outcome<Finding> {
    let gain = lab.mean(|seed| {
        let (spots, latent) = (spots::world(lab, seed)?, spots::latent_diffusion(lab, seed)?);
        let model = latent.model.with_prior(Flow::clone(&*flow(lab, seed)?))?;
        let gain = model.prior_gain(spots.test.slice(s![..500, ..]), &LikelihoodOptions::default())?;
        Ok(gain.and_then(|gain| gain.mean()).ok_or("a flow has a density")?)
    })?;
    Ok(Finding::new()
        .claim("nats that the flow adds to the ELBO", gain, Bound::AtLeast(0.0))
        .because("The latents of this autoencoder are about as normal as a flow of this size can tell."))
}

/// Draws with each prior, without a class.
pub fn structured(lab: &Lab) -> Outcome<Finding> {
    let mut columns = [(); 6].map(|()| Vec::new());
    lab.each(|seed| {
        let (spots, latent) = (spots::world(lab, seed)?, spots::latent_diffusion(lab, seed)?);
        let streams = lab.streams(seed).family(80);
        let bare = latent.model.latents(&spots.bare()?, seed)?;
        let config =
            DiffusionConfig { condition: Default::default(), ..latent.model.prior().config().clone() };
        let mut diffusion = Diffusion::new(config.clone(), &mut streams.stream(0))?;
        diffusion.train(&bare, &spots::options(2_000), &mut streams.stream(1), &mut NoObserver)?;
        let flow = flow(lab, seed)?;
        let mut warp = Latent::new(
            Flow::clone(&flow),
            Diffusion::new(config, &mut streams.stream(2))?,
            LatentConfig::default(),
        )?;
        warp.train_prior(&bare, &spots::options(2_000), &mut streams.stream(3), &mut NoObserver)?;
        let quick = Sampler::Ddim { steps: 5, eta: 0.0 };
        let priors: [Box<dyn Generative>; 5] = [
            Box::new(Flow::clone(&flow)),
            Box::new(diffusion.clone()),
            Box::new(warp.clone()),
            Box::new(diffusion.with_sampler(quick)?),
            Box::new(warp.with_prior(warp.prior().with_sampler(quick)?)?),
        ];
        let distance =
            |model: &dyn Distribution| spots.distance(model.draw(JUDGED, &mut streams.stream(4))?.view());
        columns[0].push(distance(&*spots::shared_codec(lab, seed)?)?);
        for (column, prior) in columns[1..].iter_mut().zip(priors) {
            column.push(distance(&latent.model.with_prior(prior)?)?);
        }
        Ok(())
    })?;
    let less = |a: usize, b: usize| {
        statistics::mean(&columns[a].iter().zip(&columns[b]).map(|(a, b)| a - b).collect::<Vec<_>>())
    };
    let at = |k: usize| statistics::mean(&columns[k]);
    Ok(Finding::new()
        .claim("distance of N(0, I) less diffusion", less(0, 2), Bound::AtLeast(0.0))
        .limit("of a flow less a diffusion in its base space", less(1, 3), Bound::AtLeast(0.0))
        .beside("N(0, I)", at(0))
        .beside("flow", at(1))
        .beside("diffusion", at(2))
        .beside("flow and diffusion", at(3))
        .beside("in five steps: diffusion", at(4))
        .beside("flow and diffusion", at(5))
        .because("Behind a flow that already describes the latents, a diffusion has little left to handle."))
}
