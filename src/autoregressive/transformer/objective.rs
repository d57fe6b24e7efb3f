use std::ops::Range;

use crate::engine::{Batch, Loss, Progress, Token};
use crate::nn::{CausalNetwork, CausalWorkspace, Weights};
use crate::numeric::Real;
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;
use crate::numeric::softmax::softmax_row;

/// The tokens that go through the network together: enough to reuse each weight often, and few enough that what a
/// block keeps stays in L2.
const TOKENS: usize = 256;

/// −(1/len) Σᵢ ln p(xᵢ | x<ᵢ), the next-token cross-entropy of rows of `len` tokens, up to the first
/// [`END`](Token::END) of a row.
///
/// For one token with logits y and p = softmax(y): ∂(−ln p_x)/∂y = p − (the one-hot of x).
#[derive(Debug)]
pub(super) struct NextToken<'m> {
    pub network: &'m CausalNetwork,
    pub len: usize,
}

#[derive(Debug, Default)]
pub(super) struct Scratch<F> {
    network: CausalWorkspace<F>,
    inputs: Vec<u32>,
}

/// The symbol of a token: END is the last one of the network.
pub(super) fn symbol(network: &CausalNetwork, token: Token) -> u32 {
    token.column(network.symbols() - 1) as u32
}

/// The number of rows of `len` tokens that go through the network together.
pub(super) fn rows_together(len: usize) -> usize {
    (TOKENS / len).max(1)
}

/// Adds Σ ln p of the predicted tokens from place `first` on of each of rows x, (n, len), to `nats`, (n).
pub(super) fn add_log_probs<F: Real>(
    network: &CausalNetwork,
    p: &[F],
    (x, len, first): (&[Token], usize, usize),
    scratch: &mut Scratch<F>,
    nats: &mut [f64],
) {
    let (longest, logits) = scratch.run(network, p, x, len, false);
    let rows = x.chunks_exact(len).zip(logits.chunks_exact_mut(longest * network.symbols()));
    for ((row, logits), nats) in rows.zip(nats) {
        let logits = logits.chunks_exact_mut(network.symbols());
        for (&token, logits) in Token::counted(row).iter().zip(logits).skip(first) {
            *nats += take_log_prob(logits, symbol(network, token));
        }
    }
}

/// ln p of the symbol; the logits become p.
fn take_log_prob<F: Real>(logits: &mut [F], symbol: u32) -> f64 {
    let at = logits[symbol as usize];
    let log_sum = vectorize(
        #[inline(always)]
        || softmax_row(logits.len(), logits),
    );
    (at - log_sum).f64()
}

impl<F: Real> Scratch<F> {
    /// Logits at the places of rows x, (n, len), up to the last one that any of them predicts, and the number of these
    /// places. A row begins with END.
    fn run(
        &mut self,
        network: &CausalNetwork,
        p: &[F],
        x: &[Token],
        len: usize,
        keep: bool,
    ) -> (usize, &mut [F]) {
        let longest = x.chunks_exact(len).map(|row| Token::counted(row).len()).max().unwrap_or(0);
        self.inputs.clear();
        for row in x.chunks_exact(len) {
            self.inputs.push(symbol(network, Token::END));
            self.inputs.extend(row[..longest - 1].iter().map(|&token| symbol(network, token)));
        }
        let run = if keep { CausalNetwork::forward } else { CausalNetwork::infer };
        (longest, run(network, p, &self.inputs, longest, &mut self.network))
    }
}

impl<F: Real> Loss<F> for NextToken<'_> {
    type Row = Token;
    type Drawn = ();
    type Workspace = Scratch<F>;

    fn tile(&self) -> usize {
        rows_together(self.len)
    }

    fn undecayed(&self) -> Vec<Range<usize>> {
        self.network.undecayed()
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.network.transpose(p, t);
    }

    fn draw(&self, _: usize, _: &[F], _: Progress, _: &mut Rng, _: &mut ()) {}

    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, .. }: Batch<F, Token>,
        _: &(),
        weight: F,
        dp: Option<&mut [F]>,
        _: &mut [f64],
        scratch: &mut Scratch<F>,
    ) -> f64 {
        let (network, len) = (self.network, self.len);
        let mut nats = 0.0;
        let Some(dp) = dp else {
            let mut nats = vec![0.0; x.len() / len];
            add_log_probs(network, w.p, (x, len, 0), scratch, &mut nats);
            return -nats.iter().sum::<f64>() / len as f64;
        };
        let (longest, logits) = scratch.run(network, w.p, x, len, true);
        let weight = weight / F::of(len as f64);
        for (row, logits) in x.chunks_exact(len).zip(logits.chunks_exact_mut(longest * network.symbols())) {
            let row = Token::counted(row);
            let (counted, rest) = logits.split_at_mut(row.len() * network.symbols());
            for (&token, logits) in row.iter().zip(counted.chunks_exact_mut(network.symbols())) {
                let symbol = symbol(network, token);
                nats += take_log_prob(logits, symbol);
                logits.iter_mut().for_each(|y| *y *= weight);
                logits[symbol as usize] -= weight;
            }
            rest.fill(F::zero());
        }
        network.backward(w, &scratch.inputs, longest, dp, &mut scratch.network);
        -nats / len as f64
    }
}
