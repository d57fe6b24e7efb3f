//! Densities and probabilities that add up to 1.

use std::io::Read;

use quadrivium::ndarray::{Array1, Array2, Array3, ArrayView2, Axis, array};
use quadrivium::numeric::quadrature::trapezoid;
use quadrivium::numeric::rng::Rng;
use quadrivium::text::{self, Tokenizer};
use quadrivium::worlds::{MarkovChain, Toy};
use quadrivium::{
    Activation, ConditionKind, Head, NetworkSpec, Token, Transformer, TransformerConfig, prelude::*, seeded,
};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics;

fn nats<T>(model: &dyn Distribution<T>, x: ArrayView2<T>) -> Outcome<Array1<f64>> {
    let score = model.log_likelihood(x, &LikelihoodOptions::default())?;
    Ok(score.nats().ok_or("no likelihood")?.clone())
}

/// Sides and points of [`integral`] for detail no finer than a tenth of a standard deviation.
const SMOOTH: (f32, f64) = (5.0, 60.0);

/// ∫ p over the plane, from `x`, rows that show where it has its mass: by the trapezoidal rule on a box of so many
/// standard deviations to each side, with so many points to a standard deviation.
fn integral(model: &dyn Distribution, x: &Array2<f32>, (side, points): (f32, f64)) -> Outcome<f64> {
    let mean = x.mean_axis(Axis(0)).ok_or("no rows")?;
    let sd = x.std_axis(Axis(0), 0.0);
    let end = |side: f32| [0, 1].map(|i| f64::from(mean[i] + side * sd[i]));
    let (lower, upper) = (end(-side), end(side));
    let h = f64::from(sd[0].min(sd[1])) / points;
    let (mut points, mut total) = (Vec::new(), 0.0);
    let volume = trapezoid(&lower, &upper, h, |x| {
        points.extend(x.iter().map(|&x| x as f32));
        1.0
    });
    let count = points.len() / 2;
    let points = Array2::from_shape_vec((count, 2), points)?;
    // In parts, so that no buffer grows large.
    for part in points.axis_chunks_iter(Axis(0), 65_536) {
        total += nats(model, part)?.iter().map(|nats| nats.exp()).sum::<f64>();
    }
    Ok(total * volume / count as f64)
}

/// The mean of log p_truth − log p_model over rows of the truth: an estimate of KL(truth ‖ model).
fn behind<T>(truth: &dyn Distribution<T>, model: &dyn Distribution<T>, x: ArrayView2<T>) -> Outcome<f64> {
    Ok((nats(truth, x)? - nats(model, x)?).mean().ok_or("no rows")?)
}

pub fn autoregressive(lab: &Lab) -> Outcome<Finding> {
    const LEN: usize = 5;
    let figures = lab.each(|seed| {
        let streams = lab.streams(seed);
        let mut rng = streams.stream(0);
        let moons = Toy::moons(0.1)?;
        let config = AutoregressiveConfig {
            network: NetworkSpec::mlp([64, 64], Activation::Silu, 3),
            head: Head::Mixture { components: 8 },
            ..Default::default()
        };
        let mut rows = Autoregressive::new(config, &mut rng)?;
        let data = Dataset::new(moons.sample(10_000, &mut rng))?;
        rows.train(&data, &TrainOptions { steps: 500, ..Default::default() }, &mut rng, &mut NoObserver)?;
        let test = moons.sample(10_000, &mut rng);
        let of_rows = ((integral(&rows, &test, SMOOTH)? - 1.0).abs(), behind(&moons, &rows, test.view())?);

        let source = MarkovChain::random(4, 1, LEN, &mut rng)?;
        let data = Dataset::new(source.draw(5_000, &mut rng)?)?;
        let test = source.draw(20_000, &mut rng)?;
        let config = TransformerConfig {
            vocabulary: 4,
            len: LEN,
            width: 32,
            heads: 2,
            blocks: 1,
            ..Default::default()
        };
        let mut transformer = Transformer::new(config, &mut rng)?;
        let options = TrainOptions { steps: 200, batch: 64, ..Default::default() };
        transformer.train(&data, &options, &mut rng, &mut NoObserver)?;
        let mut counts = NGram::new(NGramConfig { vocabulary: 4, context: 1, max_len: LEN })?;
        counts.fit(&data, &mut rng)?;
        let sums = [&transformer as &dyn Distribution<Token>, &counts].map(|model| -> Outcome<_> {
            let total: f64 = nats(model, every_row(4, LEN).view())?.iter().map(|nats| nats.exp()).sum();
            Ok(((total - 1.0).abs(), behind(&source, model, test.view())?))
        });
        let [of_tokens, of_counts] = sums;
        Ok([of_rows, of_tokens?, of_counts?])
    })?;
    let mut finding = Finding::new();
    for (k, name) in ["masked network on moons", "transformer", "n-gram"].into_iter().enumerate() {
        let of = |get: fn(&(f64, f64)) -> f64| figures.iter().map(|seed| get(&seed[k])).collect::<Vec<_>>();
        let off = of(|figures| figures.0).into_iter().fold(0.0, f64::max);
        finding = finding
            .claim(
                format!("{name}: total probability, largest difference from 1"),
                Estimate::exact(off),
                Bound::AtMost(1e-3),
            )
            .claim(
                format!("{name}: nats behind the truth"),
                statistics::mean(&of(|figures| figures.1)),
                Bound::AtLeast(0.0),
            );
    }
    Ok(finding
        .because("How far a good model is behind the truth is hard to tell from 0 on some thousand rows."))
}

/// All rows of at most `len` tokens.
fn every_row(vocabulary: usize, len: usize) -> Array2<Token> {
    // In base vocabulary + 1, whose last digit is the end; after it, only ends.
    let base = vocabulary + 1;
    let digits = |row: usize| (0..len).map(move |place| row / base.pow(place as u32) % base);
    let whole = |row: &usize| {
        let mut ended = digits(*row).skip_while(|&digit| digit < vocabulary);
        ended.all(|digit| digit == vocabulary)
    };
    let token = |digit: usize| if digit < vocabulary { Token(digit as u32) } else { Token::END };
    let tokens: Vec<Token> =
        (0..base.pow(len as u32)).filter(whole).flat_map(|row| digits(row).map(token)).collect();
    Array2::from_shape_vec((tokens.len() / len, len), tokens).expect("whole rows")
}

pub fn perplexity(lab: &Lab) -> Outcome<Finding> {
    // One text in characters and in byte pairs, each with n-grams from poor to good.
    let packed =
        std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/devils-dictionary.txt.gz"))?;
    let mut all = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut all)?;
    let cut = all.char_indices().nth(all.chars().count() * 9 / 10).map_or(0, |(at, _)| at);
    let (learned, held_out) = all.split_at(cut);
    let held_out: String = held_out.chars().take(20_000).collect();
    let mut scores: Vec<Vec<(f64, f64)>> = Vec::new();
    for tokenizer in [Tokenizer::characters(&all)?, Tokenizer::byte_pairs(learned, 256)?] {
        let tokens = tokenizer.encode(learned)?;
        let data = text::windows(&tokens, tokens.len(), tokens.len())?;
        let models = (1..=4).map(|context| {
            let config = NGramConfig { vocabulary: tokenizer.vocabulary(), context, max_len: tokens.len() };
            let mut model = NGram::new(config)?;
            model.fit(&data, &mut seeded(0))?;
            let score = text::measure(&model, &tokenizer, &held_out)?;
            Ok((score.perplexity_per_token(), score.bits_per_byte()))
        });
        scores.push(models.collect::<Outcome<_>>()?);
    }
    let agree = |models: &[(f64, f64)]| {
        let (perplexities, bits): (Vec<f64>, Vec<f64>) = models.iter().copied().unzip();
        crate::ranks::spearman(&perplexities, &bits)
    };
    let within = scores.iter().map(|models| agree(models)).fold(1.0, f64::min);
    let pairs = scores[0].iter().flat_map(|a| scores[1].iter().map(move |b| (a, b)));
    let reversed = pairs.filter(|(a, b)| (a.0 < b.0) != (a.1 < b.1)).count();

    // One source in symbols and in pairs of symbols, each with a model that is as good as the other: n-grams of different
    // vocabularies are not equally good on a text.
    let ratios = lab.each(|seed| {
        const LEN: usize = 64;
        let mut rng = lab.streams(seed).stream(0);
        let source = MarkovChain::random(6, 1, LEN, &mut rng)?;
        let mut ratio = [0.0; 2];
        let whole = |rng: &mut Rng| -> Outcome<Array2<Token>> {
            // Without rows that end early, which have no even number of symbols.
            let rows = source.draw(6_000, rng)?;
            let kept: Vec<usize> =
                (0..rows.nrows()).filter(|&row| !rows.row(row).iter().any(|&t| t == Token::END)).collect();
            Ok(rows.select(Axis(0), &kept))
        };
        let (train, test) = (whole(&mut rng)?, whole(&mut rng)?);
        for (symbols, nats_per_symbol) in [1, 2].into_iter().zip(&mut ratio) {
            let joined = |x: &Array2<Token>| {
                Array2::from_shape_fn((x.nrows(), LEN / symbols), |(row, place)| {
                    Token((0..symbols).fold(0, |token, k| 6 * token + x[[row, symbols * place + k]].0))
                })
            };
            let vocabulary = 6usize.pow(symbols as u32);
            let mut model = NGram::new(NGramConfig { vocabulary, context: 1, max_len: LEN / symbols })?;
            model.fit(&Dataset::new(joined(&train))?, &mut rng)?;
            *nats_per_symbol = -nats(&model, joined(&test).view())?.mean().ok_or("no rows")? / LEN as f64;
        }
        // Perplexities per token are e to the nats per symbol and e to twice as many.
        Ok((ratio[1] / ratio[0], (2.0 * ratio[1]).exp() / ratio[0].exp()))
    })?;
    let of = |get: fn(&(f64, f64)) -> f64| statistics::mean(&ratios.iter().map(get).collect::<Vec<_>>());
    Ok(Finding::new()
        .claim(
            "rank correlation of perplexity and bits per byte in one vocabulary",
            Estimate::exact(within),
            Bound::AtLeast(1.0),
        )
        .claim(
            "pairs of models of two vocabularies, of 16, that perplexity puts in the wrong order",
            Estimate::exact(reversed as f64),
            Bound::AtLeast(1.0),
        )
        .claim(
            "equally good models of symbols and of pairs: ratio of nats per symbol",
            of(|ratios| ratios.0),
            Bound::Within(0.97, 1.03),
        )
        .beside("and of their perplexities", of(|ratios| ratios.1))
        .because("What perplexity says depends on what a token is."))
}

pub fn flows(_: &Lab) -> Outcome<Finding> {
    let toys = [
        Toy::ffjord8(),
        Toy::grid25(),
        Toy::moons(0.1)?,
        Toy::circles(),
        Toy::rings(),
        Toy::swiss_roll(),
        Toy::two_spirals(),
        Toy::pinwheel(),
        Toy::checkerboard(),
    ];
    let options = TrainOptions { steps: 400, ..Default::default() };
    let mut off = Vec::new();
    for (seed, toy) in toys.iter().enumerate() {
        let mut rng = seeded(seed as u64);
        let mut flow = Flow::new(FlowConfig::default(), &mut rng)?;
        let x = toy.sample(10_000, &mut rng);
        flow.train(&Dataset::new(x.clone())?, &options, &mut rng, &mut NoObserver)?;
        // The grid's modes are narrow, and none is near an edge.
        let rule = if toy.modes().is_some_and(|modes| modes.sigma < 0.1) { (2.5, 250.0) } else { SMOOTH };
        off.push((integral(&flow, &x, rule)? - 1.0).abs());
    }
    // Four Gaussians, each under its number.
    let mut rng = seeded(0);
    let class = Array1::from_shape_fn(8_000, |row| row as u32 % 4);
    let center = Toy::ring(4, 2.0, 0.3)?.modes().ok_or("modes")?.centers;
    let noise = Toy::mixture(
        &[1.0],
        array![[0.0, 0.0]].view(),
        Array3::from_shape_fn((1, 2, 2), |(_, i, j)| if i == j { 0.09 } else { 0.0 }).view(),
    )?;
    let mut x = noise.sample(8_000, &mut rng);
    x.indexed_iter_mut().for_each(|((row, i), x)| *x += center[[row % 4, i]] as f32);
    let config = FlowConfig { condition: ConditionKind::Class { classes: 4 }, ..Default::default() };
    let mut flow = Flow::new(config, &mut rng)?;
    let data = Dataset::new(x.clone())?.with_condition(Condition::Class(class))?;
    flow.train(&data, &options, &mut rng, &mut NoObserver)?;
    let mut conditional = Vec::new();
    for class in 0..4 {
        conditional.push((integral(&*flow.given(&Condition::class(class))?, &x, SMOOTH)? - 1.0).abs());
    }
    let most = |values: Vec<f64>| Estimate::exact(values.into_iter().fold(0.0, f64::max));
    Ok(Finding::new()
        .claim(
            "integral of the density, largest difference from 1 of nine toys",
            most(off),
            Bound::AtMost(1e-3),
        )
        .claim("the same of four conditions", most(conditional), Bound::AtMost(1e-3))
        .because("The quadrature cannot follow what is narrower than its grid."))
}
