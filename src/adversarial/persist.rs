use super::network::Player;
use super::{Gan, GanConfig};
use crate::engine::Fitted;
use crate::error::Result;
use crate::model::file::{Persist, Stored, Tensor, encode};
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
        let (given, (joined, projected)) = (config.condition.width(), config.critics_condition());
        let generator = config.generator.network_params(config.latent_dim, given, config.dim);
        let critic = config.critic.network_params(config.dim, joined, 1 + projected);
        stored.holds(generator.saturating_add(critic))?;

        let (generator, critic) = (Player::generator(&config), Player::critic(&config));
        let layouts = [layout("generator.", &generator), layout("critic.", &critic)];
        stored.count(2 * layouts.iter().map(|layout| layout.tensors().len()).sum::<usize>())?;
        Ok(Gan {
            generator_parameters: stored.parameters(&layouts[0])?,
            critic_parameters: stored.parameters(&layouts[1])?,
            generator,
            critic,
            fitted,
            config,
        })
    }
}
