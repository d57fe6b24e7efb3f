//! A language model of a text: a causal transformer beside n-grams and compressors, in nats a character on the last
//! tenth of the text, given the first nine tenths.
//!
//! `cargo run --release --example text` trains on Ambrose Bierce's "The Devil's Dictionary" (some minutes) ·
//! `-- --text FILE` · `-- --quick` · `-- --json FILE` · `-- --help` explains the options.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use quadrivium::text::{self, Tokenizer};
use quadrivium::{
    Generative, NGram, NGramConfig, OptimizerConfig, Step, Token, Transformer, TransformerConfig, prelude::*,
    seeded,
};
use serde_json::json;

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A language model of a text.
#[derive(Parser)]
struct Args {
    /// A text in UTF-8, plain or packed by gzip.
    #[arg(long)]
    text: Option<PathBuf>,
    /// Steps of the training.
    #[arg(long, default_value_t = 1_500)]
    steps: usize,
    /// Windows of the text in a step.
    #[arg(long, default_value_t = 12)]
    batch: usize,
    /// Characters of a window: the longest context.
    #[arg(long, default_value_t = 128)]
    context: usize,
    /// Columns of the network.
    #[arg(long, default_value_t = 96)]
    width: usize,
    /// Blocks of the network.
    #[arg(long, default_value_t = 4)]
    blocks: usize,
    /// The learning rate after its warm-up.
    #[arg(long, default_value_t = 2e-3)]
    lr: f64,
    /// Weight decay, which keeps a small text from being memorized.
    #[arg(long, default_value_t = 0.3)]
    weight_decay: f64,
    /// The seed of the training and of the samples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A small network and few steps, to check that everything runs.
    #[arg(long)]
    quick: bool,
    /// Write all figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A model or a compressor, and what it makes of the held-out text.
struct Row {
    model: String,
    nats_per_char: f64,
    train_s: f64,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let (name, all) = read(args.text.as_ref())?;
    let tokenizer = Tokenizer::characters(&all)?;
    // Cut between two characters.
    let cut = all.char_indices().nth(all.chars().count() * 9 / 10).map_or(all.len(), |(at, _)| at);
    let (learned, held_out) = all.split_at(cut);
    println!(
        "{name}: {} characters, {} of them different; the last tenth is held out.\n",
        all.chars().count(),
        tokenizer.vocabulary()
    );
    let mut rows = compressors(learned, held_out)?;
    rows.extend(n_grams(&tokenizer, learned, held_out)?);
    rows.extend(transformer(&args, &tokenizer, learned, held_out)?);

    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(["model", "nats/char", "bits/byte", "training"]);
    // Every character of a text in ASCII is a byte; elsewhere it may be several.
    let chars_per_byte = held_out.chars().count() as f64 / held_out.len() as f64;
    for Row { model, nats_per_char, train_s } in &rows {
        let bits = nats_per_char * chars_per_byte / std::f64::consts::LN_2;
        let seconds = if *train_s > 0.0 { format!("{train_s:.1} s") } else { "–".into() };
        table.add_row([model.clone(), format!("{nats_per_char:.3}"), format!("{bits:.3}"), seconds]);
    }
    println!("{table}");
    if let Some(path) = &args.json {
        let row = |row: &Row| {
            json!({
                "text": name, "model": row.model, "nats_per_char": row.nats_per_char, "train_s": row.train_s
            })
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        fs::write(path, serde_json::to_string_pretty(&json!({ "rows": rows }))?)?;
    }
    Ok(())
}

/// The name of the text, and its characters.
fn read(path: Option<&PathBuf>) -> Outcome<(String, String)> {
    let (name, bytes) = match path {
        None => {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/devils-dictionary.txt.gz");
            ("The Devil's Dictionary".to_string(), fs::read(path)?)
        }
        Some(path) => (path.display().to_string(), fs::read(path)?),
    };
    let bytes = match bytes.strip_prefix(&[0x1f, 0x8b]) {
        None => bytes,
        Some(_) => {
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked)?;
            unpacked
        }
    };
    Ok((name, String::from_utf8(bytes)?))
}

/// What the held-out text adds to the length of the packed text.
fn compressors(learned: &str, held_out: &str) -> Outcome<Vec<Row>> {
    let zlib = |text: &str| -> Outcome<usize> {
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(text.as_bytes())?;
        Ok(packer.finish()?.len())
    };
    let added = zlib(&[learned, held_out].concat())? - zlib(learned)?;
    let nats_per_char = 8.0 * std::f64::consts::LN_2 * added as f64 / held_out.chars().count() as f64;
    Ok(vec![Row { model: "zlib".into(), nats_per_char, train_s: 0.0 }])
}

fn n_grams(tokenizer: &Tokenizer, learned: &str, held_out: &str) -> Outcome<Vec<Row>> {
    let tokens = tokenizer.encode(learned)?;
    let data = text::windows(&tokens, tokens.len(), tokens.len())?;
    let mut rows = Vec::new();
    for context in 2..=5 {
        let config = NGramConfig { vocabulary: tokenizer.vocabulary(), context, max_len: tokens.len() };
        let began = Instant::now();
        let mut model = NGram::new(config)?;
        model.fit(&data, &mut seeded(0))?;
        let train_s = began.elapsed().as_secs_f64();
        let score = continued(&model, tokenizer, learned, held_out)?;
        rows.push(Row { model: format!("n-gram, context {context}"), nats_per_char: score, train_s });
    }
    Ok(rows)
}

/// Nats a character of the held-out text as the continuation of what was learned, whose end is its first context.
fn continued(
    model: &dyn Generative<Token>,
    tokenizer: &Tokenizer,
    learned: &str,
    held_out: &str,
) -> Outcome<f64> {
    let before: String = learned.chars().rev().take(model.dim().min(1_000)).collect();
    let before: String = before.chars().rev().collect();
    let whole = text::measure(model, tokenizer, [&before, held_out].concat())?;
    let context = text::measure(model, tokenizer, &before)?;
    Ok((whole.nats - context.nats) / held_out.chars().count() as f64)
}

fn transformer(args: &Args, tokenizer: &Tokenizer, learned: &str, held_out: &str) -> Outcome<Vec<Row>> {
    let (steps, context, width, blocks) =
        if args.quick { (40, 32, 32, 2) } else { (args.steps, args.context, args.width, args.blocks) };
    let data = text::windows(&tokenizer.encode(learned)?, context, (context / 8).max(1))?;
    let defaults = TransformerConfig::default();
    let config = TransformerConfig {
        vocabulary: tokenizer.vocabulary(),
        len: context,
        width,
        blocks,
        optimizer: OptimizerConfig {
            lr: args.lr,
            weight_decay: args.weight_decay,
            ..defaults.optimizer.clone()
        },
        ..defaults
    };
    // Short trainings first, to see it learn.
    let stages = [steps / 32, steps / 8, steps];
    let mut rows = Vec::new();
    for stage in stages {
        let mut rng = seeded(args.seed);
        let mut model = Transformer::new(config.clone(), &mut rng)?;
        let options = TrainOptions { steps: stage, batch: args.batch, ..Default::default() };
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {msg} nats a character, {eta} left")?;
        let bar = ProgressBar::new(stage as u64).with_style(style);
        let mut observer = |step: &Step<'_>| {
            bar.set_position(step.step as u64 + 1);
            bar.set_message(format!("{:.3}", step.loss));
            std::ops::ControlFlow::Continue(())
        };
        let began = Instant::now();
        model.train(&data, &options, &mut rng, &mut observer)?;
        bar.finish_and_clear();
        let train_s = began.elapsed().as_secs_f64();
        let score = if args.quick {
            &held_out[..held_out.char_indices().nth(2_000).unwrap_or((0, ' ')).0]
        } else {
            held_out
        };
        let nats_per_char = continued(&model, tokenizer, learned, score)?;
        println!("After {stage} steps, {nats_per_char:.3} nats a character, it draws:\n");
        let prompt = tokenizer.encode(first_of(learned))?;
        let temperature = SampleOptions { temperature: 0.8 };
        let drawn = text::draw(&model, &prompt, prompt.len() + 240, &temperature, &mut rng)?;
        // A fence that no text can close, and a language: documents that hold this are compiled.
        println!("~~~~~~text\n{}\n~~~~~~\n", tokenizer.text(&drawn)?.trim_end());
        if stage == steps {
            let parameters = Generative::num_params(&model);
            rows.push(Row { model: format!("transformer, {parameters} parameters"), nats_per_char, train_s });
        }
    }
    Ok(rows)
}

/// A first character to begin with.
fn first_of(text: &str) -> &str {
    let first = text.chars().find(|c| c.is_uppercase()).map_or(0, |c| text.find(c).unwrap_or(0));
    let end = text[first..].chars().next().map_or(0, char::len_utf8);
    &text[first..first + end]
}
