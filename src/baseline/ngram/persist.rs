use std::sync::Arc;

use super::{Counts, NGram, NGramConfig};
use crate::error::{Result, check};
use crate::model::file::{Persist, Stored, Tensor, broken, encode};
use crate::model::{Token, Truncation};

/// What stands for END, and for no token at all: contexts at the beginning of a row are shorter.
const END: f32 = -1.0;
const NONE: f32 = -2.0;

/// Tensors: `grams` (n, context + 1), the tokens of a context and the one that follows, END as −1, where the context is
/// shorter −2 in front; `counts` (n), how often each occurred.
impl Persist<Token> for NGram {
    fn kind() -> &'static str {
        "n_gram"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let (width, found) = (self.config.context + 1, self.counts.grams());
        let number = |token: &Token| if *token == Token::END { END } else { token.0 as f32 };
        let mut grams = Vec::with_capacity(found.len() * width);
        for (context, next) in found.keys() {
            grams.extend(std::iter::repeat_n(NONE, width - 1 - context.len()));
            grams.extend(context.iter().chain([next]).map(number));
        }
        let counts: Vec<f64> = found.values().copied().collect();
        let tensors = vec![
            Tensor::f32("grams", &[found.len(), width], &grams),
            Tensor::f64("counts", &[found.len()], counts),
        ];
        encode(Self::kind(), &self.config, &(), tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, ()): (NGramConfig, ()) = stored.read(Self::kind())?;
        config.validate()?;
        stored.count(2)?;
        let (width, n) = (config.context + 1, stored.shape("counts")?.first().copied().unwrap_or(0));
        let (grams, numbers) = (stored.f32("grams", &[n, width])?, stored.f64("counts", &[n])?);
        let whole = numbers.iter().all(|&count| count >= 1.0 && count.fract() == 0.0);
        check(whole, "counts", "a number", "whole numbers from 1 on")?;
        let token = |number: f32| match number {
            END => Ok(Token::END),
            _ if number >= 0.0 && number < config.vocabulary as f32 && number.fract() == 0.0 => {
                Ok(Token(number as u32))
            }
            _ => Err(broken(format!("tensor grams holds {number}, which is no token"))),
        };
        let mut counts = Counts::default();
        for (gram, &count) in grams.chunks_exact(width).zip(&numbers) {
            let start = gram.iter().take_while(|&&number| number == NONE).count();
            let tokens = gram[start..].iter().map(|&number| token(number)).collect::<Result<Vec<_>>>()?;
            let Some((&next, context)) = tokens.split_last() else {
                return Err(broken("tensor grams has a row without a token"));
            };
            counts.add(context, next, count);
        }
        Ok(NGram { config, counts: Arc::new(counts), truncation: Truncation::default() })
    }
}
