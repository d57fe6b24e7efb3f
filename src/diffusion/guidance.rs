use super::network::{At, Level, Parametrization, Pass};
use super::path::Path;
use super::predictor::{Predictor, Trained};
use crate::error::{Result, check};
use crate::map::{Card, LikelihoodKind};

/// Draws that answer their condition more strongly, at the price of diversity.
///
/// In each step the prediction ŷ(x, c) moves away from another one, ŷ′:
///
/// ŷ′ + w (ŷ(x, c) − ŷ′).
///
/// With the scale w = 1 it is the model itself. Against the unconditional prediction ŷ′ = ŷ(x, ∅) of the same network
/// it is classifier-free guidance (Ho & Salimans 2022, eq. 6, where the weight is w − 1): its score is that of
/// p_t(x|c)ʷ p_t(x)¹⁻ʷ at each level, which is not the noised form of any one density, so what is drawn depends on the
/// sampler, and a guided model has no likelihood. Against a weaker model of the same data it is autoguidance (Karras
/// et al. 2024). Every guided step costs two evaluations.
///
/// `M` is the kind of model: [`Diffusion`](crate::Diffusion) or [`FlowMatching`](crate::FlowMatching).
#[derive(Debug, Clone)]
pub struct Guidance<M> {
    /// w. 0 to 1000. Default 2.
    pub scale: f64,
    /// The levels at which it acts, in the noise-to-signal ratio σ/α of a diffusion and the time t of a flow matching:
    /// from the first to the second number, both included. Elsewhere a step costs one evaluation. Guidance in the
    /// middle of the path alone keeps more of the diversity (Kynkäänniemi et al. 2024). Default all: (0, ∞).
    pub interval: (f64, f64),
    /// What the prediction moves away from. Default [`Against::Unconditional`].
    pub against: Against<M>,
}

/// What a guided prediction moves away from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Against<M> {
    /// The same network's prediction without a condition, which it knows from `condition_dropout`. Both predictions
    /// are made in one batch.
    Unconditional,
    /// The prediction of a weaker model in the same units, under the same condition if there is one: an earlier clone,
    /// or a smaller network that was trained on the same rows.
    Weaker(M),
}

impl<M> Default for Guidance<M> {
    fn default() -> Self {
        Guidance { scale: 2.0, interval: (0.0, f64::INFINITY), against: Against::Unconditional }
    }
}

impl<M> Guidance<M> {
    /// `alone`: whether the model knows its unconditional prediction; `alike`: whether another model has its columns,
    /// units and conditions.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub(super) fn validate(&self, alone: bool, alike: impl FnOnce(&M) -> bool) -> Result<()> {
        check((0.0..=1000.0).contains(&self.scale), "Guidance::scale", self.scale, "0 to 1000")?;
        let (from, to) = self.interval;
        let falls = from >= 0.0 && from <= to;
        check(falls, "Guidance::interval", self.interval, "0 or more, and the second at least the first")?;
        match &self.against {
            Against::Unconditional => {
                let needs = "a weaker model, or a model with a condition and a condition_dropout above 0";
                check(alone, "Guidance::against", "Unconditional", needs)
            }
            Against::Weaker(weaker) => {
                let needs = "a model of the same columns, units and conditions";
                check(alike(weaker), "Guidance::against", "Weaker", needs)
            }
        }
    }
}

impl<M> Guidance<M> {
    /// What draws need of it, where `network` is a weaker model's.
    pub(super) fn guide<'a, P>(&'a self, network: impl FnOnce(&'a M) -> Trained<'a, f32, P>) -> Guide<'a, P> {
        let weaker = match &self.against {
            Against::Unconditional => None,
            Against::Weaker(weaker) => Some(network(weaker)),
        };
        Guide { scale: self.scale, interval: self.interval, weaker }
    }
}

/// A model's card, guided or not.
pub(super) fn on_card<M>(card: Card, guidance: Option<&Guidance<M>>) -> Card {
    match guidance {
        None => card,
        Some(Guidance { scale, .. }) => Card {
            name: format!("{}, w = {scale}", card.name).into(),
            likelihood: LikelihoodKind::Unavailable,
            ..card
        },
    }
}

/// A network that draws, guided or not.
#[derive(Debug)]
pub(crate) struct Guided<'a, P> {
    pub(crate) network: Trained<'a, f32, P>,
    pub(crate) guide: Option<Guide<'a, P>>,
}

/// [`Guidance`], with what it needs of the other model.
#[derive(Debug)]
pub(crate) struct Guide<'a, P> {
    pub(crate) scale: f64,
    pub(crate) interval: (f64, f64),
    /// `None`: the network itself without a condition.
    pub(crate) weaker: Option<Trained<'a, f32, P>>,
}

impl<P: Parametrization> Guide<'_, P> {
    pub(super) fn acts(&self, level: Level<P>) -> bool {
        let mark = P::Path::mark(level);
        self.scale != 1.0 && self.interval.0 <= mark && mark <= self.interval.1
    }
}

impl<P: Parametrization> Guided<'_, P> {
    /// Evaluations of a row at a level.
    pub(crate) fn cost(&self, level: Level<P>) -> usize {
        if self.guide.as_ref().is_some_and(|guide| guide.acts(level)) { 2 } else { 1 }
    }
}

/// The buffers of [`Guided`].
#[derive(Debug, Default)]
pub struct Workspace {
    pass: Pass<f32>,
    other: Pass<f32>, // of a weaker model
    x: Vec<f32>,      // the rows twice: (2n, d)
    c: Vec<f32>,      // their conditions, then none: (2n, k)
    mixed: Vec<f32>,  // (n, d)
}

impl<P: Parametrization> Predictor<f32, Level<P>> for Guided<'_, P> {
    type Workspace = Workspace;

    fn dim(&self) -> usize {
        self.network.net.dim()
    }

    fn predict<'a>(
        &self,
        x: &[f32],
        level: Level<P>,
        Workspace { pass, other, x: twice, c, mixed }: &'a mut Workspace,
        spent: &mut usize,
    ) -> &'a [f32] {
        let (network, levels) = (&self.network, &[level]);
        *spent += self.cost(level);
        let guide = match &self.guide {
            Some(guide) if guide.acts(level) => guide,
            _ => return network.net.infer(network.p, At { x, c: network.c, levels }, pass),
        };
        let (asked, against) = match &guide.weaker {
            Some(weaker) => (
                network.net.infer(network.p, At { x, c: network.c, levels }, pass),
                weaker.net.infer(weaker.p, At { x, c: weaker.c, levels }, other),
            ),
            None => {
                let (n, k) = (x.len() / network.net.dim(), network.net.width());
                twice.clear();
                twice.extend_from_slice(x);
                twice.extend_from_slice(x);
                c.clear();
                for _ in 0..if network.c.len() == k { n } else { 1 } {
                    c.extend_from_slice(network.c);
                }
                c.resize(2 * n * k, 0.0);
                network.net.infer(network.p, At { x: twice, c, levels }, pass).split_at(x.len())
            }
        };
        let scale = guide.scale as f32;
        mixed.clear();
        mixed.extend(asked.iter().zip(against).map(|(y, other)| other + scale * (y - other)));
        mixed
    }
}
