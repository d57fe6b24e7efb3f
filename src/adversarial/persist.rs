use super::network::Player;
use super::{Gan, GanConfig};
use crate::engine::Fitted;
use crate::error::Result;
use crate::model::file::{Persist, Stored, Tensor, encode, features};
use crate::nn::{Layout, Network};

fn layout(name: &str, player: &Player) -> Layout {
    let mut layout = Layout::default();
    player.net.describe(name, &mut layout);
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
        fitted.validate(config.dim, config.condition)?;
        let (generator, critic) = (&config.generator_hidden[..], &config.critic_hidden[..]);
        let tensors = 2 * (generator.len() + 1 + critic.len() + 1);
        let noise = features(config.latent_dim, config.generator_octaves);
        let noise = noise.saturating_add(config.condition.width());
        let generator = [&[noise], generator, &[config.dim]].concat();
        let (joined, projected) = config.critics_condition();
        let row = features(config.dim, config.critic_octaves).saturating_add(joined);
        let critic = [&[row], critic, &[1 + projected]].concat();
        stored.fits(tensors, &[&generator, &critic])?;

        let (generator, critic) = (Player::generator(&config), Player::critic(&config));
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
