//! The laws of models that draw token by token: what a row costs with and without a cache, how near they come to
//! sources whose entropy is known, how their errors add up with the length, what perplexity can compare, and decoding
//! several tokens at once.
//!
//! `cargo run --release --example sequences` (a few minutes) · `-- --quick` · `-- --only cost` · `-- --json FILE` ·
//! `-- --help` explains the options.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use comfy_table::{Table, presets};
use quadrivium::model::{Decoder, Sequences};
use quadrivium::ndarray::{Array2, s};
use quadrivium::text::{self, Tokenizer};
use quadrivium::worlds::{Grammar, Lexicon, MarkovChain};
use quadrivium::{
    Distribution, Generative, OptimizerConfig, Token, Transformer, TransformerConfig, Truncation, prelude::*,
    seeded,
};
use serde_json::{Value, json};

/// The words of the grammar.
const WORDS: usize = 16;

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The laws of models that draw token by token.
#[derive(Parser)]
struct Args {
    /// Steps of each training.
    #[arg(long, default_value_t = 3_000)]
    steps: usize,
    /// The seed of all data and trainings.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Fewer steps and shorter rows, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Only one part: `cost`, `sources`, `drift`, `vocabularies` or `parallel`.
    #[arg(long)]
    only: Option<String>,
    /// Write all figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw the cost of a row to this SVG file; needs the feature `plot`.
    #[arg(long, value_name = "FILE", hide = cfg!(not(feature = "plot")))]
    plot: Option<PathBuf>,
}

/// How much a part may spend.
#[derive(Clone, Copy)]
struct Size {
    steps: usize,
    quick: bool,
    seed: u64,
}

/// A part of the measurements: its title, and a table with the same numbers for a file.
type Part = fn(Size) -> Outcome<(&'static str, Table, Vec<Value>)>;

fn main() -> Outcome<()> {
    let args = Args::parse();
    if cfg!(not(feature = "plot")) && args.plot.is_some() {
        let command = "cargo run --release --features plot --example sequences";
        return Err(format!("--plot draws a picture: run with `{command}`").into());
    }
    let size = Size { steps: if args.quick { 60 } else { args.steps }, quick: args.quick, seed: args.seed };
    let parts: [(&str, Part); 5] = [
        ("cost", cost),
        ("sources", sources),
        ("drift", drift),
        ("vocabularies", vocabularies),
        ("parallel", parallel),
    ];
    let mut figures = serde_json::Map::new();
    for (name, part) in parts {
        if args.only.as_ref().is_none_or(|only| only == name) {
            let (title, table, rows) = part(size)?;
            println!("{title}\n\n{table}\n");
            figures.insert(name.into(), rows.into());
        }
    }
    #[cfg(feature = "plot")]
    if let (Some(path), Some(rows)) = (&args.plot, figures.get("cost")) {
        picture(rows)?.save(path)?;
    }
    if let Some(path) = args.json {
        fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(())
}

/// The time of a row with the cache and without.
#[cfg(feature = "plot")]
fn picture(rows: &Value) -> Outcome<quadrivium::report::Picture> {
    use quadrivium::report::{Curve, growth};
    let curve = |name: &str, field: &str| {
        let points = rows
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|row| Some((row["tokens"].as_f64()?, 1e3 * row[field].as_f64()?)));
        Curve { name: name.into(), points: points.collect() }
    };
    let curves = [curve("without a cache", "uncached_s"), curve("with the cache", "cached_s")];
    Ok(growth("The time of a row of tokens", ("tokens of a row", "milliseconds"), &curves)?)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    table
}

fn config(vocabulary: usize, len: usize, width: usize, blocks: usize, lr: f64) -> TransformerConfig {
    let defaults = TransformerConfig::default();
    let optimizer = OptimizerConfig { lr, ..defaults.optimizer.clone() };
    TransformerConfig { vocabulary, len, width, blocks, optimizer, ..defaults }
}

fn trained(config: TransformerConfig, data: &Dataset<Token>, size: Size) -> Outcome<Transformer> {
    let mut rng = seeded(size.seed);
    let mut model = Transformer::new(config, &mut rng)?;
    let options = TrainOptions { steps: size.steps, batch: 64, ..Default::default() };
    model.train(data, &options, &mut rng, &mut NoObserver)?;
    Ok(model)
}

/// The least of some timings of `work`, in seconds.
fn least(times: usize, mut work: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..times {
        let began = Instant::now();
        work()?;
        least = least.min(began.elapsed().as_secs_f64());
    }
    Ok(least)
}

fn feed(decoder: &mut impl Decoder, tokens: &[Token]) {
    for &token in tokens {
        decoder.push(&[token]);
    }
}

/// The slope of y over x by least squares, and its value at x = 0.
fn line(x: &[f64], y: &[f64]) -> (f64, f64) {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let cross: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
    let slope = cross / x.iter().map(|x| (x - mx).powi(2)).sum::<f64>();
    (slope, my - slope * mx)
}

/// The time of rows of growing length with the cache and without, and of one token at growing prefixes.
fn cost(size: Size) -> Outcome<(&'static str, Table, Vec<Value>)> {
    let (width, blocks, times) = (128, 4, if size.quick { 1 } else { 5 });
    let lengths: &[usize] = if size.quick { &[32, 64] } else { &[64, 128, 256, 512, 1024] };
    let longest = lengths[lengths.len() - 1];
    let model = Transformer::new(config(64, longest, width, blocks, 1e-3), &mut seeded(size.seed))?;
    let tokens: Vec<Token> = (0..longest).map(|i| Token((i * i % 61) as u32)).collect();
    let mut shown = table(&["tokens", "evaluations", "with the cache", "without", "one more token"]);
    let mut rows = Vec::new();
    let (mut log_len, mut cached, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for &len in lengths {
        let mut evaluations = 0;
        let with = least(times, || {
            let mut decoder = model.decoder(1);
            decoder.push(&[Token::END]);
            feed(&mut decoder, &tokens[..len - 1]);
            evaluations = decoder.len();
            Ok(())
        })?;
        // Without the cache, each token takes a pass over all before it; every eighth pass stands for eight.
        let every = if len < 64 { 1 } else { 8 };
        let without = every as f64
            * least(if len > 256 { 1 } else { times }, || {
                (0..len).step_by(every).try_for_each(|place| model.logits(&tokens[..place]).map(drop))?;
                Ok(())
            })?;
        // Of 16 tokens around this place.
        let first = len.saturating_sub(16);
        let mut decoder = model.decoder(1);
        decoder.push(&[Token::END]);
        feed(&mut decoder, &tokens[..first]);
        let one = least(20 * times, || {
            decoder.rewind(first + 1);
            feed(&mut decoder, &tokens[first..len - 1]);
            Ok(())
        })? / (len - 1 - first) as f64;
        log_len.push((len as f64).ln());
        cached.push((len as f64, one));
        whole.push((with.ln(), without.ln()));
        shown.add_row([
            len.to_string(),
            evaluations.to_string(),
            format!("{:.2} ms", with * 1e3),
            format!("{:.1} ms", without * 1e3),
            format!("{:.1} µs", one * 1e6),
        ]);
        rows.push(json!({
            "tokens": len, "nfe": evaluations, "cached_s": with, "uncached_s": without, "token_s": one
        }));
    }
    let exponent =
        |pick: fn(&(f64, f64)) -> f64| line(&log_len, &whole.iter().map(pick).collect::<Vec<_>>()).0;
    let (with, without) = (exponent(|t| t.0), exponent(|t| t.1));
    let (places, seconds): (Vec<f64>, Vec<f64>) = cached.into_iter().unzip();
    let (slope, at_0) = line(&places, &seconds);
    let parameters = Generative::num_params(&model) as f64;
    let doubled = 2.0 * parameters / (4.0 * blocks as f64 * width as f64);
    rows.push(json!({
        "exponent_cached": with, "exponent_uncached": without, "token_doubles_at": at_0 / slope,
        "token_doubles_at_by_operations": doubled
    }));
    shown.add_row([
        "time ∝ lengthᵏ".into(),
        String::new(),
        format!("k = {with:.2}"),
        format!("k = {without:.2}"),
        format!("doubled at {:.0}; {doubled:.0} by operations", at_0 / slope),
    ]);
    Ok(("What a row costs", shown, rows))
}

/// A source with its name, and its numbers.
type Source<'a, N> = (&'static str, &'a dyn Distribution<Token>, N);

/// Cross-entropy on fresh rows of sources with known entropy.
fn sources(size: Size) -> Outcome<(&'static str, Table, Vec<Value>)> {
    let (train, test) = if size.quick { (2_000, 500) } else { (100_000, 20_000) };
    let chain = MarkovChain::random(5, 2, 32, &mut seeded(size.seed + 1))?;
    let grammar = Grammar::english(24)?;
    let names = names()?;
    let sources: [Source<[usize; 4]>; 3] = [
        ("chain of order 2", &chain, [5, 32, 64, 2]),
        ("grammar", &grammar, [WORDS, 24, 64, 2]),
        ("names", &names, [26, 14, 64, 2]),
    ];
    let mut shown = table(&["source", "entropy", "cross-entropy", "gap", "per"]);
    let mut rows = Vec::new();
    for (name, source, [vocabulary, len, width, blocks]) in sources {
        // The chain never ends, so its unit is a token.
        let unit = if name == "names" {
            "name"
        } else if name == "grammar" {
            "sentence"
        } else {
            "token"
        };
        let mut rng = seeded(size.seed);
        // A list of names is learned by heart, which takes more rows and steps than rules.
        let more = if name == "names" { 8 } else { 1 };
        let data = source.sample(more * train, &Default::default(), &mut rng)?.x;
        let fresh = source.sample(test, &Default::default(), &mut rng)?.x;
        let model = trained(
            config(vocabulary, len, width, blocks, 3e-3),
            &Dataset::new(data)?,
            Size { steps: more * size.steps, ..size },
        )?;
        let nats = |p: &dyn Distribution<Token>| -> Outcome<Vec<f64>> {
            let score = p.log_likelihood(fresh.view(), &Default::default())?;
            Ok(score.nats().ok_or("a likelihood")?.to_vec())
        };
        let (truth, found) = (nats(source)?, nats(&model)?);
        let per = if unit == "token" { len as f64 } else { 1.0 };
        // The difference on the same rows varies less than either.
        let gaps: Vec<f64> = truth.iter().zip(&found).map(|(truth, found)| (truth - found) / per).collect();
        let n = gaps.len() as f64;
        let gap = gaps.iter().sum::<f64>() / n;
        let sd = (gaps.iter().map(|g| (g - gap).powi(2)).sum::<f64>() / n / n).sqrt();
        let entropy = -truth.iter().sum::<f64>() / n / per;
        shown.add_row([
            name.into(),
            format!("{entropy:.4}"),
            format!("{:.4}", entropy + gap),
            format!("{gap:.4} ± {sd:.4}"),
            unit.to_string(),
        ]);
        rows.push(json!({ "source": name, "entropy": entropy, "gap": gap, "std_error": sd, "per": unit }));
    }
    Ok(("Sources whose entropy is known, in nats", shown, rows))
}

/// The first names of the US census of 1990, with their frequencies.
fn names() -> Outcome<Lexicon> {
    let packed = fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/names.csv.gz"))?;
    let mut csv = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut csv)?;
    let letters = Tokenizer::characters("abcdefghijklmnopqrstuvwxyz")?;
    let mut words = Vec::new();
    for line in csv.lines().skip(1) {
        let mut fields = line.split(',');
        let name = fields.next().ok_or("a name")?.to_lowercase();
        let percent: f64 = fields.next_back().ok_or("its percentage")?.parse()?;
        words.push((letters.encode(&name)?, percent));
    }
    Ok(Lexicon::new(words, letters.vocabulary(), 14)?)
}

/// How far draws of growing length are from a chain: the share of rows whose tail holds a step that the truth calls
/// improbable, beside the same share among the chain's own rows.
fn drift(size: Size) -> Outcome<(&'static str, Table, Vec<Value>)> {
    // A chain of order 2 with two likely symbols and two rare ones behind each context.
    let table_of_steps = Array2::from_shape_fn((16, 4), |(context, next)| {
        [0.6, 0.36, 0.03, 0.01][(next + 3 * context + context / 4) % 4]
    });
    let len = if size.quick { 64 } else { 256 };
    let chain = MarkovChain::new(table_of_steps.view(), len)?;
    let mut rng = seeded(size.seed);
    let data = Dataset::new(chain.draw(if size.quick { 500 } else { 20_000 }, &mut rng)?)?;
    let steps = size.steps / 10;
    let model = trained(config(4, len, 32, 1, 5e-3), &data, Size { steps, ..size })?;
    let n = if size.quick { 100 } else { 2_000 };
    let (mut shown, mut rows) =
        (table(&["places", "KL at a place", "rows with a break, model", "truth"]), Vec::new());
    let (free, truth) = (model.draw(n, &mut rng)?, chain.draw(n, &mut rng)?);
    // ln of a step's true probability, from the log-probabilities of longer and longer beginnings.
    let steps_of = |x: &Array2<Token>, p: &dyn Distribution<Token>| -> Outcome<Array2<f64>> {
        let mut before = vec![0.0; x.nrows()];
        let mut steps = Array2::zeros(x.dim());
        for place in 0..len {
            let score = p.log_likelihood(x.slice(s![.., ..=place]), &Default::default())?;
            for (row, &nats) in score.nats().ok_or("a likelihood")?.iter().enumerate() {
                steps[(row, place)] = nats - before[row];
                before[row] = nats;
            }
        }
        Ok(steps)
    };
    let (of_model, by_chain, own) =
        (steps_of(&free, &model)?, steps_of(&free, &chain)?, steps_of(&truth, &chain)?);
    let mut start = 2;
    while start < len {
        let end = (2 * start).min(len);
        // KL(model ‖ truth) of one conditional, along the model's own draws. A row that ends, which the chain never
        // does, counts among the breaks.
        let ratios: Vec<f64> = (&of_model.slice(s![.., start..end]) - &by_chain.slice(s![.., start..end]))
            .into_iter()
            .filter(|ratio| ratio.is_finite())
            .collect();
        let kl = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let broken = |steps: &Array2<f64>| {
            let rare = steps
                .rows()
                .into_iter()
                .filter(|row| row.iter().skip(2).take(end - 2).any(|&p| p < 0.02f64.ln()));
            rare.count() as f64 / steps.nrows() as f64
        };
        let (model, chain) = (broken(&by_chain), broken(&own));
        shown.add_row([
            format!("{start} to {}", end - 1),
            format!("{kl:.4}"),
            format!("{:.1} %", 100.0 * model),
            format!("{:.1} %", 100.0 * chain),
        ]);
        rows.push(json!({ "from": start, "to": end - 1, "kl": kl, "broken": model, "broken_truth": chain }));
        start = end;
    }
    Ok(("Free draws of a model that is not quite trained", shown, rows))
}

/// One text in characters and in byte pairs.
fn vocabularies(size: Size) -> Outcome<(&'static str, Table, Vec<Value>)> {
    let packed =
        fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/devils-dictionary.txt.gz"))?;
    let mut all = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut all)?;
    let cut = all.char_indices().nth(all.chars().count() * 9 / 10).map_or(0, |(at, _)| at);
    let (learned, held_out) = all.split_at(cut);
    let held_out: String = held_out.chars().take(if size.quick { 1_000 } else { 20_000 }).collect();
    let tokenizers = [
        ("characters", Tokenizer::characters(&all)?, 128),
        ("256 byte pairs", Tokenizer::byte_pairs(learned, 256)?, 64),
    ];
    let mut shown = table(&["tokens", "symbols", "perplexity", "nats/token", "nats/char", "bits/byte"]);
    let mut rows = Vec::new();
    for (name, tokenizer, len) in &tokenizers {
        let len = if size.quick { 16 } else { *len };
        let data = text::windows(&tokenizer.encode(learned)?, len, len / 4)?;
        // As many characters in a step.
        let steps = if size.quick { size.steps } else { size.steps / 3 };
        let mut rng = seeded(size.seed);
        let mut model = Transformer::new(config(tokenizer.vocabulary(), len, 96, 3, 2e-3), &mut rng)?;
        let options = TrainOptions { steps, batch: 16, ..Default::default() };
        model.train(&data, &options, &mut rng, &mut NoObserver)?;
        let score = text::measure(&model, tokenizer, &held_out)?;
        shown.add_row([
            name.to_string(),
            tokenizer.vocabulary().to_string(),
            format!("{:.2}", score.perplexity_per_token()),
            format!("{:.3}", score.nats_per_token()),
            format!("{:.3}", score.nats_per_char()),
            format!("{:.3}", score.bits_per_byte()),
        ]);
        rows.push(json!({
            "tokens": name, "vocabulary": tokenizer.vocabulary(), "perplexity": score.perplexity_per_token(),
            "nats_per_token": score.nats_per_token(), "nats_per_char": score.nats_per_char(),
            "bits_per_byte": score.bits_per_byte()
        }));
    }
    Ok(("Perplexity compares models of one vocabulary; bits a byte compare any", shown, rows))
}

/// The most probable sequence, token by token and by Jacobi iteration: guess all tokens, replace each by the most
/// probable one behind the guesses before it, and repeat until nothing changes. Every pass settles at least the next
/// token, and often more.
fn parallel(size: Size) -> Outcome<(&'static str, Table, Vec<Value>)> {
    let len = if size.quick { 16 } else { 64 };
    let grammar = Grammar::english(24)?;
    let chain = MarkovChain::random(5, 2, len, &mut seeded(size.seed + 1))?;
    let names = names()?;
    let sources: [Source<[usize; 2]>; 3] = [
        ("chain of order 2", &chain, [5, len]),
        ("grammar", &grammar, [WORDS, 24]),
        ("names", &names, [26, 14]),
    ];
    let mut shown = table(&["source", "tokens", "passes", "passes per token", "same tokens"]);
    let mut rows = Vec::new();
    for (name, source, [vocabulary, len]) in sources {
        let mut rng = seeded(size.seed);
        let data = Dataset::new(source.draw(if size.quick { 500 } else { 20_000 }, &mut rng)?)?;
        let model =
            trained(config(vocabulary, len, 64, 2, 3e-3), &data, Size { steps: size.steps / 5, ..size })?;
        let greedy = model.with_truncation(Truncation::GREEDY)?;
        let (mut tokens, mut passes, mut same) = (0, 0, true);
        // Each symbol as a prompt of one token.
        for first in (0..vocabulary as u32).map(Token) {
            let prompt = Condition::tokens(&[first]);
            let drawn = greedy.given(&prompt)?.draw(1, &mut rng)?;
            let one_by_one: Vec<Token> = drawn.iter().copied().take_while(|&t| t != Token::END).collect();
            let (at_once, needed) = jacobi(&model, first, len)?;
            same &= one_by_one == at_once;
            tokens += (one_by_one.len() + 1).min(len - 1);
            passes += needed;
        }
        let per_token = passes as f64 / tokens as f64;
        shown.add_row([
            name.to_string(),
            tokens.to_string(),
            passes.to_string(),
            format!("{per_token:.2}"),
            if same { "yes" } else { "no" }.into(),
        ]);
        rows.push(json!({ "source": name, "tokens": tokens, "passes": passes, "same": same }));
    }
    Ok(("Lossless parallel decoding", shown, rows))
}

/// The tokens behind `first`, without END, and the passes that it took to settle them.
fn jacobi(model: &Transformer, first: Token, len: usize) -> Outcome<(Vec<Token>, usize)> {
    let vocabulary = model.config().vocabulary;
    let mut guess = vec![Token(0); len - 1];
    for passes in 1.. {
        let row = [&[first][..], &guess].concat();
        let ended = row.iter().position(|&token| token == Token::END).unwrap_or(len);
        let logits = model.logits(&row[..ended.min(len - 1)])?;
        // Row i holds what follows token i − 1 of the row; row 0 what begins it.
        let mut next: Vec<Token> = logits
            .rows()
            .into_iter()
            .skip(1)
            .map(|row| {
                let best = (0..=vocabulary).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
                if best == vocabulary { Token::END } else { Token(best as u32) }
            })
            .collect();
        let end = next.iter().position(|&token| token == Token::END);
        next.truncate(end.map_or(next.len(), |end| end + 1));
        if guess == next {
            return Ok((next.into_iter().filter(|&token| token != Token::END).collect(), passes));
        }
        guess = next;
        if guess.last() != Some(&Token::END) {
            guess.resize(len - 1, Token(0));
        }
    }
    unreachable!("each pass settles a token")
}
