//! The table of compositions: what each paradigm can be the prior of. A new composition is a line of [`cell`].

use quadrivium::recipe::Kind;

/// The paradigms, in the order of rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Autoregressive,
    Latent,
    Adversarial,
    Flow,
    Diffusion,
}

impl Part {
    pub const ALL: [Part; 5] =
        [Part::Autoregressive, Part::Latent, Part::Adversarial, Part::Flow, Part::Diffusion];

    pub fn name(self) -> &'static str {
        match self {
            Part::Autoregressive => "autoregressive",
            Part::Latent => "VAE",
            Part::Adversarial => "GAN",
            Part::Flow => "flow",
            Part::Diffusion => "diffusion",
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            Part::Autoregressive => Kind::Autoregressive,
            Part::Latent => Kind::Vae,
            Part::Adversarial => Kind::Gan,
            Part::Flow => Kind::Flow,
            Part::Diffusion => Kind::Diffusion,
        }
    }
}

/// What stands in a cell: a model that is run, or why there is none.
pub enum Cell {
    Run,
    None(&'static str),
}

/// What `prior` is to `outer`, which draws the row in the end; without an outer part it stands alone.
pub fn cell(outer: Option<Part>, prior: Part) -> Cell {
    match (outer, prior) {
        (None | Some(Part::Latent | Part::Flow), _) => Cell::Run,
        (Some(Part::Autoregressive), _) => Cell::None("no latent: a row is drawn number by number"),
        (Some(Part::Adversarial), _) => Cell::None("no encoder: nothing says which latent a row has"),
        (Some(Part::Diffusion), _) => Cell::None("its noise is N(0, I) already, by construction"),
    }
}
