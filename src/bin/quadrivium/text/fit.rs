use std::time::Instant;

use quadrivium::numeric::rng::Rng;
use quadrivium::observe::{All, Bar};
use quadrivium::persist::{Persist, save_text};
use quadrivium::prelude::*;
use quadrivium::recipe::{Setting, with_settings};
use quadrivium::text::{Tokenizer, windows};
use quadrivium::{NGram, NGramConfig, Stop, Token, TrainReport, Transformer, TransformerConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Kind, Tokens, measured, read};
use crate::failure::{Failure, Outcome, counted, of_file, of_writing, say};
use crate::files::{distinct, writable};
use crate::fit::{Args, open_log, takes};
use crate::interrupt;
use crate::recipe::of_settings;
use crate::seed::Purpose;

/// The share of a text, at its end, on which the model is measured by default.
const HELD_OUT: f64 = 0.1;

/// How often a training reads the text by default, in windows of this many tokens.
const PASSES: f64 = 6.5;
const WINDOW: usize = 128;
const BATCH: usize = 12;

/// Fits a language model to a text, and saves it with its tokenizer.
pub fn fit(args: &Args, kind: Kind) -> Outcome<()> {
    let mut interrupt = interrupt::watch("nothing is saved")?;
    args.takes_a_text(kind)?;
    let settings = args.settings.read()?;
    let files = args.files();
    files.iter().try_for_each(|(what, path)| takes(what, path))?;
    distinct(&[("the text", args.data.path()), ("the settings", args.settings.path())], &files)?;
    files.iter().try_for_each(|(_, path)| writable(path))?;
    let (bytes, name) = (read(&args.data)?, args.data.name());
    let (learned, held_out) = split(&bytes, args.validation.unwrap_or(HELD_OUT));
    let tokenizer = tokenizer(args.tokens.unwrap_or(Tokens::Characters), &bytes, learned)
        .map_err(|error| of_file(&name, error))?;
    let tokens = tokenizer.encode(learned).map_err(|error| of_file(&name, error))?;
    let vocabulary = tokenizer.vocabulary();
    let mut rng = Purpose::Training.stream(args.seed);
    let mut log = args.log.as_deref().map(open_log).transpose()?;
    let mut events = args.events()?;
    let start = Instant::now();
    let mut learn =
        |model: &mut dyn Persist<Token>, data: &Dataset<Token>, options: &TrainOptions, rng: &mut Rng| {
            let mut bar = Bar::new(&model.card().name);
            interrupt.training("what it learned");
            let mut observers = All(vec![&mut bar, &mut interrupt]);
            if let Some(log) = &mut log {
                observers.0.push(log);
            }
            if let Some(events) = &mut events {
                observers.0.push(events);
            }
            let trained = model.train(data, options, rng, &mut observers);
            interrupt.saving();
            trained.map_err(|error| of_file(&name, error))
        };
    let (model, report): (Box<dyn Persist<Token>>, TrainReport) = match kind {
        Kind::NGram => {
            let config: NGramConfig = set(NGramConfig { vocabulary, ..NGramConfig::default() }, &settings)?;
            // The text is one row, which has no borders within.
            let mut model = NGram::new(NGramConfig { max_len: tokens.len(), ..config.clone() })?;
            let data = windows(&tokens, tokens.len(), tokens.len())?;
            let report = learn(&mut model, &data, &TrainOptions::default(), &mut rng)?;
            (Box::new(model.with_max_len(config.max_len)?), report)
        }
        Kind::Transformer => {
            let config = set(recipe(vocabulary, tokens.len()), &settings)?;
            let data = windows(&tokens, config.len, (config.len / 8).max(1))?;
            let options = args.shared(options(args, tokens.len(), config.len))?;
            say(format_args!("{}", choice(&config, &options, tokens.len())));
            let mut model = Transformer::new(config, &mut rng)?;
            let report = learn(&mut model, &data, &options, &mut rng)?;
            (Box::new(model), report)
        }
    };
    save_text(model.as_ref(), &tokenizer, &args.output)
        .map_err(|error| of_file(args.output.display(), error))?;
    if let (Some(log), Some(path)) = (log, &args.log) {
        log.finish().map_err(|error| of_writing(path.display(), error))?;
    }
    args.finish(events)?;
    let seconds = start.elapsed().as_secs_f64();
    let (text, which) = if held_out.is_empty() { (learned, "text") } else { (held_out, "held-out end") };
    let score = measured(model.as_ref(), &tokenizer, text, &name)?;
    say(format_args!(
        "{}: {}; {:.4} nats a character, {:.4} bits a byte of the {which}, {seconds:.1} s",
        model.card().name,
        counted(tokens.len(), "token"),
        score.nats_per_char(),
        score.bits_per_byte(),
    ));
    say(format_args!("saved to {}", args.output.display()));
    match interrupt.signal() {
        Some(signal) if report.stop == Stop::Interrupted => Err(Failure::Interrupted(signal)),
        _ => Ok(()),
    }
}

/// What the recipe chose.
fn choice(config: &TransformerConfig, options: &TrainOptions, tokens: usize) -> String {
    let &TransformerConfig { vocabulary, len, width, heads, blocks, .. } = config;
    format!(
        "transformer for {} of {vocabulary} kinds: width {width}, {} of {}; {} of {} of {len} tokens",
        counted(tokens, "token"),
        counted(blocks, "block"),
        counted(heads, "head"),
        counted(options.steps, "step"),
        counted(options.batch, "window"),
    )
}

/// A text and its end, of about this share, cut where a character of UTF-8 begins.
fn split(bytes: &[u8], share: f64) -> (&[u8], &[u8]) {
    let mut at = ((1.0 - share) * bytes.len() as f64).ceil() as usize;
    while at < bytes.len() && bytes[at] & 0b1100_0000 == 0b1000_0000 {
        at += 1;
    }
    // Something must be left to learn from.
    if at == 0 { (bytes, &[]) } else { bytes.split_at(at) }
}

/// Characters are those of the whole text, so that its end can be scored; pairs are of what is learned.
fn tokenizer(tokens: Tokens, bytes: &[u8], learned: &[u8]) -> quadrivium::Result<Tokenizer> {
    match tokens {
        Tokens::Bytes => Ok(Tokenizer::bytes()),
        Tokens::Pairs(merges) => Tokenizer::byte_pairs(learned, merges),
        Tokens::Characters => {
            let text = std::str::from_utf8(bytes);
            let not_utf8 = |error: std::str::Utf8Error| quadrivium::error::TextError::NotUtf8 {
                at: error.valid_up_to(),
            };
            Tokenizer::characters(text.map_err(not_utf8)?)
        }
    }
}

/// A network by the size of the text: a small text is soon memorized.
fn recipe(vocabulary: usize, tokens: usize) -> TransformerConfig {
    let (width, weight_decay) = if tokens < 1_000_000 { (96, 0.3) } else { (128, 0.1) };
    let defaults = TransformerConfig::default();
    let optimizer = quadrivium::OptimizerConfig { lr: 2e-3, weight_decay, ..defaults.optimizer.clone() };
    TransformerConfig { vocabulary, len: WINDOW.min(tokens.max(2)), width, optimizer, ..defaults }
}

fn options(args: &Args, tokens: usize, len: usize) -> TrainOptions {
    let batch = args.batch.unwrap_or(BATCH);
    let steps = (PASSES * tokens as f64 / (batch * len) as f64).ceil() as usize;
    let defaults = TrainOptions::default();
    TrainOptions {
        steps: args.steps.unwrap_or(steps.clamp(300, 20_000)),
        batch,
        shards: defaults.shards.min(batch),
        checkpoint: args.checkpoint(),
        ..defaults
    }
}

/// The config with these fields replaced.
fn set<C: Serialize + DeserializeOwned>(config: C, settings: &[Setting]) -> Outcome<C> {
    if settings.iter().any(|setting| setting.field() == "vocabulary") {
        return Err(Failure::Usage("vocabulary: --tokens chooses it".into()));
    }
    with_settings(config, settings).map_err(of_settings)
}
