use ndarray::{Array2, array, s};

use super::*;
use crate::engine::{Batch, Token};
use crate::numeric::rng::seeded;
use crate::testing::{check_gradient, normals};

const END: Token = Token::END;

fn small() -> TransformerConfig {
    TransformerConfig { vocabulary: 3, len: 5, width: 8, heads: 2, blocks: 2, ..Default::default() }
}

/// A model whose parameters are far from where they start, so that every part of it counts.
fn lively(config: TransformerConfig) -> Transformer {
    let mut model = Transformer::new(config, &mut seeded(0)).unwrap();
    let p = normals::<f32>(model.num_params(), &mut seeded(1)).iter().map(|p| 0.5 * p).collect();
    model.parameters = Arc::new(Parameters::new(p));
    model
}

fn nats(p: &dyn Distribution<Token>, x: &Array2<Token>) -> Vec<f64> {
    p.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap().nats().unwrap().to_vec()
}

#[test]
fn next_token_loss_and_gradient_leave_out_what_follows_the_end() {
    let model = lively(small());
    let loss = NextToken { network: &model.network, len: 5 };
    let p: Vec<f64> = model.parameters.p.iter().map(|&p| p.into()).collect();
    let [a, b, c] = [Token(0), Token(1), Token(2)];
    let x = [b, a, c, a, b, a, END, END, END, END, END, END, END, END, END, c, c, b, END, END];
    let checked = check_gradient("next token", &loss, &p, 4, Batch::of(&x), |_| false);
    let rows = Array2::from_shape_vec((4, 5), x.to_vec()).unwrap();
    let want = -nats(&model, &rows).iter().sum::<f64>() / 5.0;
    assert!((checked.loss - want).abs() < 1e-5, "{}, not {want}", checked.loss);
    // Rows that all end early cost as much as they hold.
    check_gradient("short rows", &loss, &p, 2, Batch::of(&x[5..15]), |_| false);
}

#[test]
fn transformer_probabilities_of_all_rows_sum_to_one() {
    let model = lively(TransformerConfig { len: 6, vocabulary: 3, ..small() });
    let mut rows: Vec<Vec<Token>> = vec![vec![]];
    for _ in 0..6 {
        let next = |row: Vec<Token>| {
            let ended = row.last() == Some(&END);
            let tokens = [Token(0), Token(1), Token(2), END].into_iter().filter(move |t| !ended || *t == END);
            tokens.map(move |token| [&row[..], &[token]].concat())
        };
        rows = rows.into_iter().flat_map(next).collect();
    }
    let x = Array2::from_shape_fn((rows.len(), 6), |(r, c)| rows[r][c]);
    let total: f64 = nats(&model, &x).into_iter().map(f64::exp).sum();
    assert!((total - 1.0).abs() < 1e-6, "{total}");
}

#[test]
fn greedy_decoding_gives_the_same_tokens_with_and_without_the_cache() {
    let config = TransformerConfig { len: 40, vocabulary: 7, ..small() };
    let model = lively(config).with_truncation(Truncation::GREEDY).unwrap();
    let prompts = Array2::from_shape_fn((9, 2), |(r, c)| Token((r * 3 + c) as u32 % 7));
    let given = model.given(&Condition::Tokens(prompts.clone())).unwrap();
    let drawn = given.draw(9, &mut seeded(2)).unwrap();
    for (prompt, drawn) in prompts.rows().into_iter().zip(drawn.rows()) {
        let mut tokens = prompt.to_vec();
        while tokens.len() < 40 && !tokens.contains(&END) {
            let logits = model.logits(&tokens).unwrap();
            let last = logits.row(logits.nrows() - 1);
            let best = (0..8).rev().max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
            tokens.push(if best == 7 { END } else { Token(best as u32) });
        }
        tokens.resize(40, END);
        assert!(drawn.iter().eq(&tokens[2..]), "{drawn:?}, without a cache {:?}", &tokens[2..]);
    }
}

#[test]
fn transformer_scores_rows_alone_as_in_a_batch() {
    let model = lively(small());
    let x = model.draw(300, &mut seeded(3)).unwrap();
    let all = nats(&model, &x);
    for row in [0, 17, 299] {
        assert_eq!(nats(&model, &x.slice(s![row..=row, ..]).to_owned())[0], all[row]);
    }
    // Fewer columns are the beginnings of rows.
    let short = x.slice(s![.., ..2]).to_owned();
    let rest = (x.slice(s![.., 2..]).to_owned(), model.given(&Condition::Tokens(array![[]])).unwrap());
    assert_eq!(nats(rest.1.as_ref(), &x), all);
    let open: Vec<usize> = (0..300).filter(|&row| short[(row, 1)] != END).collect();
    let given = model.given(&Condition::Tokens(short.select(ndarray::Axis(0), &open))).unwrap();
    let behind = nats(given.as_ref(), &rest.0.select(ndarray::Axis(0), &open));
    let before = nats(&model, &short);
    for (&row, behind) in open.iter().zip(behind) {
        assert!((before[row] + behind - all[row]).abs() < 1e-5);
    }
}

#[test]
fn views_share_the_parameters() {
    let model = lively(small());
    let greedy = model.with_truncation(Truncation::GREEDY).unwrap();
    assert!(Arc::ptr_eq(&model.parameters, &greedy.parameters));
    assert!(model.with_truncation(Truncation { top_k: Some(0), top_p: None }).is_err());
}

#[test]
fn sizes_out_of_range_are_refused_by_name() {
    let told = |config: TransformerConfig| match Transformer::new(config, &mut seeded(0)) {
        Err(crate::Error::Config { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let d = TransformerConfig::default;
    assert_eq!(told(TransformerConfig { vocabulary: 0, ..d() }), "TransformerConfig::vocabulary");
    assert_eq!(told(TransformerConfig { len: 0, ..d() }), "TransformerConfig::len");
    assert_eq!(told(TransformerConfig { heads: 0, ..d() }), "TransformerConfig::heads");
    for width in [0, 12, 70_000] {
        assert_eq!(told(TransformerConfig { width, ..d() }), "TransformerConfig::width");
    }
    let large = TransformerConfig { width: 65_536, vocabulary: 65_535, blocks: 1024, ..d() };
    assert_eq!(told(large), "TransformerConfig");
}

/// A chain of order 2 over three symbols: the cross-entropy of draws from it approaches its entropy rate.
#[test]
fn transformer_learns_a_chain_of_order_two() {
    let next = |a: usize, b: usize| [[0.8, 0.1, 0.1], [0.05, 0.15, 0.8], [0.3, 0.6, 0.1]][(a + 2 * b) % 3];
    let mut rng = seeded(7);
    let mut draw = |n: usize| {
        let mut truth = 0.0;
        let mut x = Array2::from_elem((n, 16), Token(0));
        for mut row in x.rows_mut() {
            for i in 0..16 {
                let before = |k: usize| if i < k { 0 } else { row[i - k].0 as usize };
                let p = next(before(2), before(1));
                let u: f64 = rand::Rng::random(&mut rng);
                let symbol = if u < p[0] {
                    0
                } else if u < p[0] + p[1] {
                    1
                } else {
                    2
                };
                truth -= p[symbol].ln();
                row[i] = Token(symbol as u32);
            }
        }
        (x, truth / n as f64)
    };
    let data = Dataset::new(draw(4_000).0).unwrap();
    let (test, truth) = draw(1_000);
    let optimizer = OptimizerConfig { lr: 1e-2, ..small().optimizer };
    let config = TransformerConfig { len: 16, width: 16, blocks: 1, optimizer, ..small() };
    let mut model = Transformer::new(config, &mut seeded(0)).unwrap();
    let options = TrainOptions { steps: 400, batch: 64, ..Default::default() };
    model.train(&data, &options, &mut seeded(1), &mut NoObserver).unwrap();
    let gap = (-nats(&model, &test).iter().sum::<f64>() / 1_000.0 - truth) / 16.0;
    assert!(gap.abs() < 0.01, "{gap} nats a token over the truth");
}
