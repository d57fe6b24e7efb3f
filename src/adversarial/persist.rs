use super::{Gan, GanConfig};
use crate::engine::{ConditionKind, Fitted};
use crate::error::Result;
use crate::model::file::{Persist, Stored, Tensor, encode, features};
use crate::nn::{Layout, Network, Sequential};

fn layout(name: &str, network: &Sequential) -> Layout {
    let mut layout = Layout::default();
    network.describe(name, &mut layout);
    layout
}

impl Persist for Gan {
    fn kind() -> &'static str {
        "gan"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let (generator, critic) = (layout("generator.", &self.generator), layout("critic.", &self.critic));
        let mut tensors = Tensor::parameters(&generator, &self.generator_parameters);
        tensors.extend(Tensor::parameters(&critic, &self.critic_parameters));
        encode(Self::kind(), &self.config, &self.fitted, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (GanConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        fitted.validate(config.dim, ConditionKind::None)?;
        let (generator, critic) = (&config.generator_hidden[..], &config.critic_hidden[..]);
        let tensors = 2 * (generator.len() + 1 + critic.len() + 1);
        let noise = features(config.latent_dim, config.generator_octaves);
        let generator = [&[noise], generator, &[config.dim]].concat();
        let critic = [&[features(config.dim, config.critic_octaves)], critic, &[1]].concat();
        stored.fits(tensors, &[&generator, &critic])?;

        let (generator, critic) = (config.generator(), config.critic());
        Ok(Gan {
            generator_parameters: stored.parameters(&layout("generator.", &generator))?,
            critic_parameters: stored.parameters(&layout("critic.", &critic))?,
            generator,
            critic,
            fitted,
            config,
        })
    }
}
