use quadrivium::ndarray::array;

use super::{Loaded, measured, read};
use crate::failure::{Outcome, counted, say};
use crate::score::Args;

/// Scores a text: one row of numbers, and a message.
pub fn score(args: &Args, Loaded { model, tokenizer, .. }: &Loaded) -> Outcome<()> {
    args.takes_a_text()?;
    let (bytes, name) = (read(&args.data)?, args.data.name());
    let score = measured(model.as_ref(), tokenizer, &bytes, &name)?;
    let names = [
        "nats",
        "tokens",
        "chars",
        "bytes",
        "nats_per_token",
        "perplexity_per_token",
        "nats_per_char",
        "bits_per_byte",
    ];
    let mut out = args.output.create(&names, Some(1))?;
    out.write(
        array![[
            score.nats,
            score.tokens as f64,
            score.chars as f64,
            score.bytes as f64,
            score.nats_per_token(),
            score.perplexity_per_token(),
            score.nats_per_char(),
            score.bits_per_byte(),
        ]]
        .view(),
    )?;
    out.finish()?;
    say(format_args!(
        "exact log-likelihood of {}: perplexity {:.4} a token, {:.4} nats a character, {:.4} bits a byte",
        counted(score.tokens, "token"),
        score.perplexity_per_token(),
        score.nats_per_char(),
        score.bits_per_byte(),
    ));
    Ok(())
}
