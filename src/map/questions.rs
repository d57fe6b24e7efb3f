//! Questions about the map, with answers and with where each answer was measured.

/// A question, its answer, and the measurement behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// A card is answered in a word or a number, a question in a few sentences.
    pub is_card: bool,
    /// What is asked.
    pub asks: &'static str,
    /// The answer.
    pub answer: &'static str,
    /// The blocks of [`results`](crate::results) that hold the measurement.
    pub measured: &'static [&'static str],
    /// A command that measures it, or shows it.
    pub command: &'static str,
}

/// Six questions and ten cards.
///
/// ```
/// let questions = quadrivium::map::questions();
/// assert_eq!(questions.iter().filter(|question| question.is_card).count(), 10);
/// assert_eq!(questions.len(), 16);
/// ```
pub fn questions() -> &'static [Question] {
    QUESTIONS
}

const TRADEOFFS: &str = "cargo run --release --example tradeoffs -- --data grid";
const ALL: &str = "cargo run --release --example tradeoffs -- --all --data grid";
const STEPS: &str = "cargo run --release --example steps_vs_quality";
const GROWTH: &str = "cargo run --release --example speed -- --growth";
const FEW: &str = "cargo run --release --example few_steps";
const HYBRIDS: &str = "cargo run --release --example hybrids";
const GUIDANCE: &str = "cargo run --release --example guidance";
const READING: &str = "cargo run --release --example reading";

const fn question(
    asks: &'static str,
    answer: &'static str,
    measured: &'static [&'static str],
    command: &'static str,
) -> Question {
    Question { is_card: false, asks, answer, measured, command }
}

const fn card(
    asks: &'static str,
    answer: &'static str,
    measured: &'static [&'static str],
    command: &'static str,
) -> Question {
    Question { is_card: true, asks, answer, measured, command }
}

const QUESTIONS: &[Question] = &[
    question(
        "Which four paradigms are there, and what does each minimize?",
        "Autoregressive: the cross-entropy of each element given those before it. Latent-variable: the negative ELBO, reconstruction and \
         KL. Adversarial: a game of a generator and a critic (minimax, non-saturating, Wasserstein). Diffusion: the squared error of the noise, \
         which is denoising score matching at many levels.",
        &["grid"],
        TRADEOFFS,
    ),
    question(
        "How does each paradigm sample, and what does that mean for latency?",
        "Autoregressive: element after element, so latency grows with the length. VAE and GAN: one pass, constant. Diffusion: many \
         denoising steps, so latency grows with their number. A composition adds up the latencies of its parts.",
        &["growth", "grid", "hybrids"],
        GROWTH,
    ),
    question(
        "Who has an exact, a bounded, an indirect, and no likelihood?",
        "Exact: autoregressive models and normalizing flows. A lower bound: VAEs. Indirect: diffusion, by integrating the probability-flow ODE for \
         each row. None: GANs, and most distilled samplers.",
        &["grid", "all grid"],
        ALL,
    ),
    question(
        "Why did diffusion displace GANs for general images, and where do GANs stay?",
        "Diffusion covers all modes, takes conditions easily by guidance, and has one stable objective that scales. GANs stay where one \
         domain has to be drawn at a very low latency, such as faces: one pass against fifty.",
        &["grid", "guidance", "all grid"],
        TRADEOFFS,
    ),
    question(
        "Which components does a latent diffusion have?",
        "A codec (a VAE: an encoder for training, a decoder for sampling), a diffusion in its latents with its sampler, and guidance by the condition. \
         Noise is drawn in the latent space; the decoder runs once.",
        &["hybrids"],
        HYBRIDS,
    ),
    question(
        "How is a new release read?",
        "Find the objective; find the sampling procedure; predict likelihood, latency and failures from both; place it in a paradigm, or name the \
         combination. What is not stated stays not stated.",
        &["reading"],
        READING,
    ),
    card(
        "Which paradigm samples sequentially?",
        "Autoregressive: one pass for each element.",
        &["growth"],
        GROWTH,
    ),
    card("Which paradigm has no likelihood?", "Adversarial.", &["grid"], TRADEOFFS),
    card(
        "DDIM in 50 steps: which share of DDPM-1000's quality and cost?",
        "Nearly its quality at a twentieth of its cost.",
        &["steps"],
        STEPS,
    ),
    card(
        "When does a lower number of steps need distillation?",
        "Below about ten or twenty. Good solvers reach twenty without it; one to four steps take a distilled sampler, or a flow map that is learned \
         from the start.",
        &["few steps", "steps"],
        FEW,
    ),
    card(
        "Which hybrids are there?",
        "A prior of any paradigm in the latents of a codec (latent diffusion first of all), a flow as the prior of a VAE, a diffusion that \
         is distilled or tuned by a game, a language model that conditions a diffusion.",
        &["hybrids"],
        HYBRIDS,
    ),
    card(
        "What is paradigm fluency?",
        "To find the objective and the sampling procedure of any system, predict its trade-offs from them, and place it or name the combination.",
        &["reading"],
        READING,
    ),
    card(
        "Which paradigms sample in one pass?",
        "Latent-variable and adversarial; flows of couplings as well.",
        &["grid", "all grid"],
        ALL,
    ),
    card(
        "What does classifier-free guidance cost?",
        "Twice the evaluations, and diversity.",
        &["guidance"],
        GUIDANCE,
    ),
    card(
        "What does the critic of a WGAN estimate?",
        "The Wasserstein-1 distance, as far as its slope is kept at 1.",
        &["grid"],
        TRADEOFFS,
    ),
    card(
        "Which likelihood does a VAE with a diffusion prior have?",
        "A lower bound: a sum has the weakest kind of its terms.",
        &["hybrids"],
        HYBRIDS,
    ),
];
