use super::likelihood::Partitions;
use super::network::Energy;
use super::{EnergyConfig, EnergyModel};
use crate::engine::Fitted;
use crate::error::Result;
use crate::model::file::{Persist, Stored, Tensor, encode};

impl Persist for EnergyModel {
    fn kind() -> &'static str {
        "energy"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let tensors = Tensor::parameters(&self.energy.layout(), &self.parameters);
        encode(Self::kind(), &self.config, &self.fitted, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (EnergyConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        fitted.validate(config.dim, config.condition)?;
        stored.holds(config.network.network_params(config.dim, config.condition.width(), 1))?;

        let energy = Energy::new(&config);
        let parameters = stored.all_parameters(&energy.layout())?;
        let mut model = EnergyModel {
            transposed: parameters.average.clone(),
            partitions: Partitions::default(),
            config,
            energy,
            parameters,
            fitted,
        };
        model.refresh();
        Ok(model)
    }
}
