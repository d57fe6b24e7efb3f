#[cfg(any(test, feature = "safetensors"))]
use std::collections::BTreeMap;
use std::collections::HashMap;

use crate::model::Token;

/// How often each token follows each context, for all contexts up to a longest one.
///
/// The contexts are a tree: the empty one is its root, and a child puts one more token in front. A context keeps the
/// tokens that follow it, so p of one token costs one step down and one look-up for each token of the context.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counts {
    /// The first is the empty context.
    contexts: Vec<Context>,
    /// The context with this token in front of that one.
    longer: HashMap<(u32, Token), u32>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Context {
    /// How often it occurs.
    total: f64,
    /// The tokens that follow, in ascending order, and how often each does.
    next: Vec<(Token, f64)>,
}

impl Context {
    fn add(&mut self, token: Token, count: f64) {
        self.total += count;
        match self.next.binary_search_by_key(&token, |&(next, _)| next) {
            Ok(at) => self.next[at].1 += count,
            Err(at) => self.next.insert(at, (token, count)),
        }
    }

    fn count(&self, token: Token) -> f64 {
        let found = self.next.binary_search_by_key(&token, |&(next, _)| next);
        found.map_or(0.0, |at| self.next[at].1)
    }

    /// Different tokens that follow.
    fn types(&self) -> f64 {
        self.next.len() as f64
    }
}

impl Default for Counts {
    fn default() -> Self {
        Counts { contexts: vec![Context::default()], longer: HashMap::new() }
    }
}

impl Counts {
    /// Adds `count` occurrences of `token` after a context and after all its ends.
    pub fn add(&mut self, context: &[Token], token: Token, count: f64) {
        let mut at = 0;
        self.contexts[0].add(token, count);
        for &before in context.iter().rev() {
            let new = self.contexts.len() as u32;
            at = *self.longer.entry((at, before)).or_insert(new);
            if at == new {
                self.contexts.push(Context::default());
            }
            self.contexts[at as usize].add(token, count);
        }
    }

    /// The ends of a context that have been seen, from the empty one to the longest.
    fn seen<'a>(&'a self, context: &'a [Token]) -> impl Iterator<Item = &'a Context> {
        let mut before = context.iter().rev();
        let ends =
            std::iter::successors(Some(0), move |&at| self.longer.get(&(at, *before.next()?)).copied());
        // Untrained, even the empty context has not been seen.
        ends.map(|at| &self.contexts[at as usize]).filter(|seen| seen.total > 0.0)
    }

    /// p(token | context), `base` the probability of every token where nothing has been seen.
    pub fn p(&self, context: &[Token], token: Token, base: f64) -> f64 {
        self.seen(context)
            .fold(base, |p, seen| (seen.count(token) + seen.types() * p) / (seen.total + seen.types()))
    }

    /// As [`p`](Counts::p), of all tokens by their columns: `p`, (vocabulary + 1).
    pub fn fill(&self, context: &[Token], base: f64, p: &mut [f64]) {
        p.fill(base);
        let vocabulary = p.len() - 1;
        for seen in self.seen(context) {
            let scale = 1.0 / (seen.total + seen.types());
            p.iter_mut().for_each(|p| *p *= seen.types() * scale);
            seen.next.iter().for_each(|&(token, count)| p[token.column(vocabulary)] += count * scale);
        }
    }

    /// Numbers that are kept: one per context and token that follows.
    pub fn len(&self) -> usize {
        self.contexts.iter().map(|context| context.next.len()).sum()
    }

    /// What was [added](Counts::add), each context with each token once, in ascending order.
    #[cfg(any(test, feature = "safetensors"))]
    pub fn grams(&self) -> BTreeMap<(Vec<Token>, Token), f64> {
        // What a context adds to the shorter one behind it is not that one's own.
        let mut own: Vec<Vec<(Token, f64)>> =
            self.contexts.iter().map(|context| context.next.clone()).collect();
        let mut texts: Vec<Vec<Token>> = vec![Vec::new(); self.contexts.len()];
        let mut parents = vec![(0, Token::END); self.contexts.len()];
        self.longer.iter().for_each(|(&(parent, token), &child)| parents[child as usize] = (parent, token));
        for child in 1..self.contexts.len() {
            let (parent, token) = parents[child];
            // A parent was made before its children.
            texts[child] = [&[token], &texts[parent as usize][..]].concat();
            for (next, count) in &self.contexts[child].next {
                let behind = &mut own[parent as usize];
                let at = behind.binary_search_by_key(next, |&(next, _)| next);
                at.into_iter().for_each(|at| behind[at].1 -= count);
            }
        }
        let grams = texts.into_iter().zip(own).flat_map(|(text, own)| {
            own.into_iter().filter(|(_, count)| *count > 0.0).map(move |(next, n)| ((text.clone(), next), n))
        });
        grams.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grams_are_what_was_added() {
        let t = Token;
        let mut counts = Counts::default();
        let added = [(vec![], t(1), 2.0), (vec![t(0)], t(1), 3.0), (vec![t(2), t(0)], t(1), 1.0)];
        added.iter().for_each(|(context, token, n)| counts.add(context, *token, *n));
        counts.add(&[t(2), t(0)], Token::END, 5.0);
        let grams: Vec<_> = counts.grams().into_iter().collect();
        let expected = [
            ((vec![], t(1)), 2.0),
            ((vec![t(0)], t(1)), 3.0),
            ((vec![t(2), t(0)], t(1)), 1.0),
            ((vec![t(2), t(0)], Token::END), 5.0),
        ];
        assert_eq!(grams, expected);
        assert_eq!(counts.len(), 6);
        // Unseen: 1/4. Then ten tokens of two kinds, six of one; nine after 0, four of them; six after 2 0.
        let empty = (6.0 + 2.0 * 0.25) / (11.0 + 2.0);
        let one = (4.0 + 2.0 * empty) / (9.0 + 2.0);
        let two = (1.0 + 2.0 * one) / (6.0 + 2.0);
        for (context, expected) in
            [(&[][..], empty), (&[t(0)], one), (&[t(1), t(0)], one), (&[t(2), t(0)], two)]
        {
            assert!((counts.p(context, t(1), 0.25) - expected).abs() < 1e-15);
        }
        let mut p = [0.0; 4];
        counts.fill(&[t(2), t(0)], 0.25, &mut p);
        assert!((p[1] - two).abs() < 1e-15 && (p.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        assert!((p[3] - counts.p(&[t(2), t(0)], Token::END, 0.25)).abs() < 1e-15);
    }
}
