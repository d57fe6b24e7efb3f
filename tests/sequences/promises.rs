//! The promises. `p` is a distribution of rows of six tokens of three symbols.

use std::ops::ControlFlow;

use quadrivium::engine::RowStreams;
use quadrivium::error::{ConditionError, DataError};
use quadrivium::ndarray::{Array2, Axis, concatenate, s};
use quadrivium::numeric::rng::Streams;
use quadrivium::prelude::*;
use quadrivium::{Error, LikelihoodKind, Samples, Token, seeded};

use super::{MAX_LEN, Subject, VOCABULARY, rows};

fn draw(p: &dyn Distribution<Token>, n: usize) -> Samples<Token> {
    p.sample(n, &SampleOptions::default(), &mut seeded(5)).unwrap()
}

fn nats(p: &dyn Distribution<Token>, x: &Array2<Token>) -> Vec<f64> {
    let score = p.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
    assert_eq!(score.kind(), LikelihoodKind::Exact);
    score.nats().unwrap().to_vec()
}

/// All rows of so many columns.
fn all_rows(columns: usize) -> Array2<Token> {
    let symbols: Vec<Token> = (0..VOCABULARY as u32).map(Token).chain([Token::END]).collect();
    let mut rows: Vec<Vec<Token>> = vec![vec![]];
    for _ in 0..columns {
        rows = rows
            .into_iter()
            .flat_map(|row| {
                let next =
                    if row.last() == Some(&Token::END) { &symbols[VOCABULARY..] } else { &symbols[..] };
                next.iter().map(|&token| [&row[..], &[token]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    Array2::from_shape_fn((rows.len(), columns), |(r, c)| rows[r][c])
}

fn total(nats: &[f64]) -> f64 {
    nats.iter().map(|nats| nats.exp()).sum()
}

pub mod of_distributions {
    use super::*;

    pub fn rows_of_any_number_of_columns_sum_to_one(p: &dyn Distribution<Token>) {
        for columns in [1, 3, MAX_LEN] {
            let sum = total(&nats(p, &all_rows(columns)));
            assert!((sum - 1.0).abs() < 1e-4, "{columns} columns: {sum}");
        }
    }

    pub fn draws_have_the_probabilities_that_are_scored(p: &dyn Distribution<Token>) {
        let n = 8_000;
        let x = draw(p, n).x;
        for columns in [1, 2, MAX_LEN] {
            let begun = x.slice(s![.., ..columns]);
            let all = all_rows(columns);
            for (row, nats) in all.rows().into_iter().zip(nats(p, &all)).filter(|(_, nats)| nats.exp() > 0.01)
            {
                let found = begun.rows().into_iter().filter(|drawn| *drawn == row).count() as f64 / n as f64;
                let sd = (nats.exp() / n as f64).sqrt();
                assert!((found - nats.exp()).abs() < 5.0 * sd, "{row:?}: {found}, not {}", nats.exp());
            }
        }
        assert!(nats(p, &x).iter().all(|nats| nats.is_finite()), "what is drawn is possible");
    }

    pub fn rows_do_not_depend_on_others_blocks_or_threads(p: &dyn Distribution<Token>) {
        let all = draw(p, 200).x;
        for k in [0, 1, 47, 64, 65, 199] {
            assert_eq!(draw(p, k).x, all.slice(s![..k, ..]), "{k} rows");
        }
        let mut blocks = Vec::new();
        let mut sink = |x: quadrivium::ndarray::ArrayView2<Token>| {
            blocks.push(x.to_owned());
            ControlFlow::Continue(())
        };
        p.sample_each(200, &SampleOptions::default(), &mut seeded(5), &mut sink).unwrap();
        let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
        assert_eq!(concatenate(Axis(0), &views).unwrap(), all);
        // Of any rows alone, from their address.
        let mut some = vec![Token::default(); 7 * p.dim()];
        let at = RowStreams::new(Streams::from_rng(&mut seeded(5)), 100);
        p.draw_at(at, &SampleOptions::default(), &mut some).unwrap();
        assert!(some.iter().eq(all.slice(s![100..107, ..])));

        let bits =
            |p: &dyn Distribution<Token>| nats(p, &all).into_iter().map(f64::to_bits).collect::<Vec<_>>();
        let expected = bits(p);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                assert_eq!(draw(p, 200).x, all, "{threads} threads");
                assert_eq!(bits(p), expected, "{threads} threads");
            });
        }
    }

    pub fn evaluations_are_at_most_those_of_the_card(p: &dyn Distribution<Token>) {
        let card = p.card();
        assert_eq!((card.likelihood, card.nfe, p.dim()), (LikelihoodKind::Exact, MAX_LEN, MAX_LEN));
        for n in [1, 5, 100] {
            let Samples { x, nfe } = draw(p, n);
            let len = |row: quadrivium::ndarray::ArrayView1<Token>| {
                row.iter().position(|&token| token == Token::END).map_or(MAX_LEN, |end| end + 1)
            };
            assert_eq!(nfe, x.rows().into_iter().map(len).max().unwrap());
        }
        assert_eq!(draw(p, 0).x.dim(), (0, MAX_LEN));
    }

    pub fn wrong_rows_and_options_are_refused(p: &dyn Distribution<Token>) {
        let told = |x: Array2<Token>| match p.log_likelihood(x.view(), &LikelihoodOptions::default()) {
            Err(Error::Data(error)) => error,
            other => panic!("{other:?}"),
        };
        let mut x = Array2::from_elem((3, 4), Token(1));
        x[[2, 3]] = Token(3);
        assert!(matches!(told(x.clone()), DataError::UnknownToken { row: 2, column: 3, token: 3, .. }));
        x.row_mut(2).fill(Token(0));
        x[[2, 1]] = Token::END;
        assert!(matches!(told(x), DataError::AfterEnd { row: 2, column: 2, token: 0, .. }));
        assert!(matches!(told(Array2::default((1, MAX_LEN + 1))), DataError::Shape { .. }));
        for temperature in [0.0, -1.0, f64::NAN, 1e7] {
            let drawn = p.sample(1, &SampleOptions { temperature }, &mut seeded(0));
            assert!(matches!(drawn, Err(Error::Config { field: "SampleOptions::temperature", .. })));
        }
        let many = p.sample(usize::MAX, &SampleOptions::default(), &mut seeded(0));
        assert!(matches!(many, Err(Error::Config { field: "n", .. })));
    }

    /// Of first tokens: a row of probable tokens may be a long one, and then it is less probable than a short one.
    pub fn lower_temperature_draws_more_probable_tokens(p: &dyn Distribution<Token>) {
        let mean = |temperature| {
            let x = p.sample(2_000, &SampleOptions { temperature }, &mut seeded(1)).unwrap().x;
            nats(p, &x.slice(s![.., ..1]).to_owned()).iter().sum::<f64>() / 2_000.0
        };
        let (cold, warm) = (mean(0.3), mean(1.0));
        assert!(cold > warm + 0.03, "{cold} at 0.3, {warm} at 1");
    }
}

pub mod of_models {
    use super::*;

    pub fn continuations_have_the_conditional_probabilities(subject: &Subject) {
        let model = subject.trained();
        for prompt in [vec![], vec![0], vec![0, 2], vec![1, 0, 2, 2, 0]] {
            let prompt: Vec<Token> = prompt.into_iter().map(Token).collect();
            let given = model.given(&Condition::tokens(&prompt)).unwrap();
            assert_eq!(given.dim(), MAX_LEN - prompt.len());
            let rest = all_rows(given.dim());
            let after = nats(&*given, &rest);
            assert!((total(&after) - 1.0).abs() < 1e-4);
            // p(prompt, rest) = p(prompt) p(rest | prompt).
            let both = Array2::from_shape_fn((rest.nrows(), MAX_LEN), |(r, c)| {
                prompt.get(c).copied().unwrap_or_else(|| rest[[r, c - prompt.len()]])
            });
            let begun = match prompt.len() {
                0 => 0.0,
                len => nats(model, &both.slice(s![..1, ..len]).to_owned())[0],
            };
            for (both, after) in nats(model, &both).into_iter().zip(after) {
                assert!(
                    (both - begun - after).abs() < 1e-4 * (1.0 + both.abs()),
                    "{both}, {begun} + {after}"
                );
            }
            let drawn = draw(&*given, 100);
            assert!(drawn.nfe > prompt.len() && drawn.nfe <= MAX_LEN);
            assert_eq!(draw(&*given, 13).x, drawn.x.slice(s![..13, ..]));
        }
    }

    pub fn prompts_of_rows_are_their_own(subject: &Subject) {
        let model = subject.trained();
        let prompts = Array2::from_shape_fn((100, 2), |(r, c)| Token((r * (c + 1)) as u32 % 3));
        let each = model.given(&Condition::Tokens(prompts.clone())).unwrap();
        let x = draw(&*each, 100).x;
        let scores = nats(&*each, &x);
        for r in [0, 1, 2, 70] {
            let one = model.given(&Condition::tokens(&prompts.row(r).to_vec())).unwrap();
            assert_eq!(draw(&*one, 100).x.row(r), x.row(r));
            let alone = nats(&*one, &x.slice(s![r..r + 1, ..]).to_owned())[0];
            assert!((alone - scores[r]).abs() < 1e-5 * (1.0 + alone.abs()));
        }
        let few = each.sample(99, &SampleOptions::default(), &mut seeded(0));
        assert!(matches!(few, Err(Error::Condition(ConditionError::Rows { got: 100, expected: 99 }))));
    }

    pub fn wrong_prompts_and_data_are_refused(subject: &Subject) {
        let mut model = subject.fresh();
        let told = |prompt: Condition| match model.given(&prompt).err() {
            Some(Error::Condition(error)) => error,
            other => panic!("{other:?}"),
        };
        assert!(matches!(told(Condition::class(1)), ConditionError::Kind { got: "classes", .. }));
        assert!(matches!(
            told(Condition::tokens(&[Token(3)])),
            ConditionError::UnknownToken { token: 3, .. }
        ));
        assert!(matches!(told(Condition::tokens(&[Token::END])), ConditionError::UnknownToken { .. }));
        let long = told(Condition::tokens(&[Token(0); MAX_LEN]));
        assert!(matches!(long, ConditionError::LongPrompt { got: MAX_LEN, most: 5 }), "{long:?}");

        let options = TrainOptions { steps: 1, batch: 4, ..Default::default() };
        let mut train = |data: Dataset<Token>, options: &TrainOptions| {
            model.train(&data, options, &mut seeded(0), &mut NoObserver).err().unwrap()
        };
        let wide = Dataset::new(Array2::default((9, MAX_LEN + 1))).unwrap();
        assert!(matches!(train(wide, &options), Error::Data(DataError::Shape { .. })));
        let unknown = Dataset::new(Array2::from_elem((9, MAX_LEN), Token(7))).unwrap();
        assert!(matches!(train(unknown, &options), Error::Data(DataError::UnknownToken { token: 7, .. })));
        let conditioned = rows(5).with_condition(Condition::class(0));
        assert!(matches!(conditioned, Err(Error::Condition(ConditionError::Rows { .. }))));
        let classes = Condition::Class(quadrivium::ndarray::Array1::zeros(5));
        let conditioned = rows(5).with_condition(classes).unwrap();
        assert!(matches!(train(conditioned, &options), Error::Condition(ConditionError::Unexpected)));
        let none = TrainOptions { steps: 0, ..options };
        assert!(matches!(train(rows(5), &none), Error::Config { field: "TrainOptions::steps", .. }));
    }

    pub fn training_makes_the_rows_more_probable(subject: &Subject) {
        let held_out = super::super::short_sentences().draw(500, &mut seeded(9)).unwrap();
        let mean = |p: &dyn Distribution<Token>| nats(p, &held_out).iter().sum::<f64>() / 500.0;
        let (before, after) = (mean(&*subject.fresh()), mean(subject.trained()));
        assert!(after > before + 0.3, "{before}, then {after}");
        let truth = mean(&super::super::short_sentences());
        assert!(after < truth, "{after} beats the truth, {truth}");
        assert!(subject.trained().num_params() > 0);
    }
}

#[cfg(feature = "safetensors")]
pub mod of_files {
    use super::*;
    use quadrivium::persist::text_from_bytes;

    pub fn loaded_model_is_the_saved_one_to_the_bit(subject: &Subject) {
        let bits = |model: &dyn Generative<Token>| {
            let nats: Vec<u64> =
                nats(model, &rows(40).x().to_owned()).into_iter().map(f64::to_bits).collect();
            (draw(model, 60).x, nats)
        };
        let train = |model: &mut dyn Generative<Token>| {
            let options = TrainOptions { steps: 3, batch: 8, ..Default::default() };
            model.train(&rows(50), &options, &mut seeded(2), &mut NoObserver).unwrap().loss
        };
        let mut model = subject.fresh();
        for trained in [false, true] {
            if trained {
                train(model.as_mut());
            }
            let bytes = model.to_bytes().unwrap();
            let mut loaded = text_from_bytes(&bytes).unwrap();
            assert_eq!((loaded.card(), loaded.num_params()), (model.card(), model.num_params()));
            assert_eq!(bits(loaded.as_ref()), bits(model.as_ref()));
            assert!(loaded.to_bytes().unwrap() == bytes, "the same file again");
            assert_eq!(train(model.as_mut()), train(loaded.as_mut()));
            assert_eq!(bits(loaded.as_ref()), bits(model.as_ref()), "trained on");
            let numbers = quadrivium::persist::from_bytes(&bytes).err().unwrap();
            assert!(numbers.to_string().contains("a model of kind"), "{numbers}");
        }
    }
}
