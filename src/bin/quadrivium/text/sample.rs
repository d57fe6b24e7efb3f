use std::fmt::Write as _;

use quadrivium::persist::Persist;
use quadrivium::text::draw;
use quadrivium::{Generative, NGram, SampleOptions, Token, Transformer, Truncation};

use super::{Kind, Loaded};
use crate::failure::{Outcome, of_file};
use crate::files::write_text;
use crate::interrupt;
use crate::sample::Args;
use crate::seed::Purpose;
use crate::values::{positive, share};

/// What may be asked of a language model.
#[derive(clap::Args)]
pub struct Asked {
    /// Of a language model: the beginning of each text. Default: none.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Of a language model: tokens of each text, the prompt not counted. Default: 200.
    #[arg(long, value_name = "N", value_parser = positive)]
    length: Option<usize>,
    /// Of a language model: draw only the N most probable tokens; 1 always draws the most probable.
    #[arg(long, value_name = "N", value_parser = positive)]
    top_k: Option<usize>,
    /// Of a language model: draw only the most probable tokens that together have this share.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    top_p: Option<f64>,
}

impl Asked {
    /// The flags that were given.
    pub fn given(&self) -> [(&'static str, bool); 4] {
        [
            ("--prompt", self.prompt.is_some()),
            ("--length", self.length.is_some()),
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
        ]
    }
}

/// Draws texts: each ends with a line break, and a line of dashes stands between two.
pub fn sample(args: &Args, loaded: &Loaded) -> Outcome<()> {
    args.takes_a_text()?;
    let asked = &args.text;
    let failed = |error| of_file(args.model.display(), error);
    let truncation = Truncation { top_k: asked.top_k, top_p: asked.top_p };
    let (model, tokenizer) = (truncated(loaded, truncation).map_err(failed)?, &loaded.tokenizer);
    let interrupt = interrupt::watch("the output is incomplete")?;
    let prompt = asked.prompt.as_deref().unwrap_or_default();
    let prompt = tokenizer.encode(prompt).map_err(|error| of_file("--prompt", error))?;
    let length = prompt.len().saturating_add(asked.length.unwrap_or(200));
    let options = SampleOptions { temperature: args.temperature };
    let mut rng = Purpose::Drawing.stream(args.seed);
    let mut texts = String::new();
    for at in 0..args.count.unwrap_or(1) {
        interrupt.check()?;
        if at > 0 {
            texts.push_str("----\n");
        }
        let tokens = draw(model.as_ref(), &prompt, length, &options, &mut rng).map_err(failed)?;
        let text = tokenizer.text(&tokens).map_err(failed)?;
        let _ = writeln!(texts, "{text}");
    }
    write_text(args.output.target(), &texts)
}

/// The model with a truncation, which is a method of its type.
fn truncated(
    Loaded { kind, model, .. }: &Loaded,
    truncation: Truncation,
) -> quadrivium::Result<Box<dyn Generative<Token>>> {
    let bytes = model.to_bytes()?;
    Ok(match kind {
        Kind::Transformer => Box::new(Transformer::from_bytes(&bytes)?.with_truncation(truncation)?),
        Kind::NGram => Box::new(NGram::from_bytes(&bytes)?.with_truncation(truncation)?),
    })
}
