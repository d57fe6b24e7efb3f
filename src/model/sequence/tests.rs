use ndarray::{array, s};

use super::*;
use crate::error::{ConditionError, DataError, Error};
use crate::map::{Objective, Sampling};
use crate::numeric::log_sum_exp;
use crate::numeric::rng::{Streams, seeded};

/// Two symbols; the next one depends on how many of each there are, and END on the length.
#[derive(Debug, Clone)]
struct Counts {
    truncation: Truncation,
}

const MAX_LEN: usize = 5;

fn logits(tokens: &[Token]) -> [f64; 3] {
    let count = |symbol| tokens.iter().filter(|token| token.0 == symbol).count() as f64;
    [0.5 * count(1) - 0.3, 0.3 - count(0), 0.4 * tokens.len() as f64 - 1.1]
}

impl NextToken for Counts {
    fn place(&self) -> Card {
        Card::new("counts", Objective::ChainRuleNll, Sampling::Sequential { dim: MAX_LEN })
    }

    fn vocabulary(&self) -> usize {
        2
    }

    fn max_len(&self) -> usize {
        MAX_LEN
    }

    fn truncation(&self) -> Truncation {
        self.truncation
    }

    fn predict(&self, tokens: &[Token], p: &mut [f64]) {
        assert!(tokens.len() < MAX_LEN);
        let logits = logits(tokens);
        p.iter_mut().zip(logits).for_each(|(p, logit)| *p = (logit - log_sum_exp(&logits)).exp());
    }
}

const MODEL: Counts = Counts { truncation: Truncation { top_k: None, top_p: None } };

/// All rows of so many columns.
fn all_rows(columns: usize) -> Array2<Token> {
    let mut rows: Vec<Vec<Token>> = vec![vec![]];
    for _ in 0..columns {
        let longer = |row: Vec<Token>| {
            let ended = row.last() == Some(&Token::END);
            let next =
                [Token(0), Token(1), Token::END].into_iter().filter(move |t| !ended || *t == Token::END);
            next.map(move |token| [&row[..], &[token]].concat()).collect::<Vec<_>>()
        };
        rows = rows.into_iter().flat_map(longer).collect();
    }
    Array2::from_shape_fn((rows.len(), columns), |(r, c)| rows[r][c])
}

fn nats(p: &dyn Distribution<Token>, x: &Array2<Token>) -> Vec<f64> {
    p.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap().nats().unwrap().to_vec()
}

fn draw(p: &dyn Distribution<Token>, n: usize) -> Samples<Token> {
    p.sample(n, &SampleOptions::default(), &mut seeded(1)).unwrap()
}

#[test]
fn rows_of_any_number_of_columns_sum_to_one() {
    let prompt = Condition::tokens(&[Token(1), Token(0)]);
    let after = MODEL.after(&prompt).unwrap();
    assert_eq!(after.dim(), 3);
    for (p, columns) in [(&MODEL as &dyn Distribution<Token>, 5), (&MODEL, 2), (&after, 3), (&after, 1)] {
        assert!(log_sum_exp(&nats(p, &all_rows(columns))).abs() < 1e-12, "{columns} columns");
    }
    // p(prompt, rest) = p(prompt) p(rest | prompt).
    let whole = nats(&MODEL, &array![[Token(1), Token(0), Token(1), Token::END, Token::END]])[0];
    let parts = nats(&MODEL, &array![[Token(1), Token(0)]])[0]
        + nats(&after, &array![[Token(1), Token::END, Token::END]])[0];
    assert!((whole - parts).abs() < 1e-12);
}

#[test]
fn draws_have_the_probabilities_that_are_scored() {
    for prompts in [array![[]], array![[Token(0), Token(0), Token(1)]]] {
        let p = MODEL.after(&Condition::Tokens(prompts)).unwrap();
        let x = draw(&p, 60_000).x;
        let rows = all_rows(p.dim());
        for (row, nats) in rows.rows().into_iter().zip(nats(&p, &rows)) {
            let found = x.rows().into_iter().filter(|drawn| *drawn == row).count() as f64 / 60_000.0;
            let sd = (nats.exp() / 60_000.0).sqrt();
            assert!((found - nats.exp()).abs() < 5.0 * sd + 1e-4, "{row:?}: {found}, not {}", nats.exp());
        }
    }
}

#[test]
fn drawn_rows_depend_on_their_own_stream_alone() {
    let all = draw(&MODEL, 100);
    for k in [1, 6, 7, 8, 99] {
        assert_eq!(draw(&MODEL, k).x, all.x.slice(s![..k, ..]));
    }
    let mut rows = vec![Token(9); 3 * MAX_LEN];
    let at = RowStreams::new(Streams::from_rng(&mut seeded(1)), 50);
    MODEL.draw_at(at, &SampleOptions::default(), &mut rows).unwrap();
    assert!(rows.iter().eq(all.x.slice(s![50..53, ..])));
    // A prompt for each row: the same as that prompt alone, with the row's stream.
    let prompts = Array2::from_shape_fn((100, 1), |(r, _)| Token(r as u32 % 2));
    let each = draw(&MODEL.after(&Condition::Tokens(prompts)).unwrap(), 100).x;
    for symbol in [0, 1] {
        let one = draw(&MODEL.after(&Condition::tokens(&[Token(symbol as u32)])).unwrap(), 100).x;
        assert_eq!(each.slice(s![symbol..;2, ..]), one.slice(s![symbol..;2, ..]));
    }
}

#[test]
fn evaluations_are_the_tokens_of_the_longest_row() {
    let Samples { x, nfe } = draw(&MODEL, 300);
    assert!(x.column(MAX_LEN - 1).iter().any(|&token| token != Token::END));
    assert_eq!((nfe, MODEL.card().nfe), (MAX_LEN, MAX_LEN));
    let given = MODEL.after(&Condition::tokens(&[Token(0); 3])).unwrap();
    assert_eq!(draw(&given, 300).nfe, MAX_LEN);
    let single = draw(&MODEL, 1);
    let end = single.x.iter().position(|&token| token == Token::END).map_or(MAX_LEN, |end| end + 1);
    assert_eq!(single.nfe, end);
}

#[test]
fn greedy_rows_are_the_most_probable_tokens_whatever_the_seed() {
    let greedy = Counts { truncation: Truncation::GREEDY };
    let mut row = Vec::new();
    for _ in 0..MAX_LEN {
        let logits = logits(&row);
        let best = (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        row.push(if best == 2 { Token::END } else { Token(best as u32) });
    }
    for drawn in draw(&greedy, 30).x.rows() {
        assert!(drawn.iter().eq(&row));
    }
}

#[test]
fn wrong_rows_and_prompts_are_refused() {
    let options = LikelihoodOptions::default();
    let told = |x: Array2<Token>| match MODEL.log_likelihood(x.view(), &options) {
        Err(Error::Data(error)) => error,
        other => panic!("{other:?}"),
    };
    let unknown = told(array![[Token(0), Token(1)], [Token(0), Token(2)]]);
    assert!(matches!(unknown, DataError::UnknownToken { row: 1, column: 1, token: 2, vocabulary: 2, .. }));
    let after = told(array![[Token(0), Token::END, Token(1)]]);
    assert!(matches!(after, DataError::AfterEnd { row: 0, column: 2, token: 1, .. }));
    assert!(matches!(told(Array2::default((2, 6))), DataError::Shape { .. }));
    assert!(matches!(told(Array2::default((2, 0))), DataError::Shape { .. }));
    assert!(matches!(
        Dataset::new(array![[Token::END, Token(0)]]),
        Err(Error::Data(DataError::AfterEnd { .. }))
    ));

    let told = |prompt: Condition| match MODEL.after(&prompt) {
        Err(Error::Condition(error)) => error,
        other => panic!("{:?}", other.map(|p| p.card())),
    };
    assert!(matches!(told(Condition::class(0)), ConditionError::Kind { got: "classes", .. }));
    assert!(matches!(
        told(Condition::tokens(&[Token(0); 5])),
        ConditionError::LongPrompt { got: 5, most: 4 }
    ));
    let ended = told(Condition::tokens(&[Token(0), Token::END]));
    assert!(matches!(ended, ConditionError::UnknownToken { row: 0, .. }));
    let two = MODEL.after(&Condition::Tokens(array![[Token(0)], [Token(1)]])).unwrap();
    for drawn in [two.draw(3, &mut seeded(0)).err(), two.log_likelihood(all_rows(1).view(), &options).err()] {
        assert!(matches!(drawn, Some(Error::Condition(ConditionError::Rows { got: 2, expected: 3 }))));
    }
}

#[test]
fn rewound_decoder_goes_on_as_if_nothing_had_been_pushed() {
    let push =
        |decoder: &mut Histories<'_, Counts>, a: u32, b: u32| decoder.push(&[Token(a), Token(b)]).to_vec();
    let (mut decoder, end) = (MODEL.decoder(2), Token::END.0);
    assert!(decoder.is_empty());
    let first = push(&mut decoder, end, end);
    push(&mut decoder, 0, 1);
    let expected = push(&mut decoder, 1, 1);
    push(&mut decoder, 0, 0);
    decoder.rewind(2);
    assert_eq!(push(&mut decoder, 1, 1), expected);
    assert_eq!(decoder.len(), 3);
    decoder.rewind(0);
    assert_eq!(push(&mut decoder, end, end), first);
}
