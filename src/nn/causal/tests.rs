use super::*;
use crate::numeric::rng::seeded;
use crate::testing::{assert_close, differences, normals, sines};

/// Two blocks of two heads, and parameters none of which is where it starts.
fn network() -> (CausalNetwork, Vec<f64>) {
    let net = CausalNetwork::new(5, 8, 2, 2);
    let p = normals::<f64>(net.num_params(), &mut seeded(1)).iter().map(|p| 0.5 * p).collect();
    (net, p)
}

/// Symbols without a pattern.
fn symbols(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| i * i % 7 % 5).collect()
}

#[test]
fn causal_network_gradient_is_that_of_its_differences() {
    let (net, p) = network();
    let mut t = vec![f64::NAN; p.len()];
    net.transpose(&p, &mut t);
    let mut workspace = CausalWorkspace::default();
    // Buffers dirty from more and longer sequences must not matter; 35 places are more than one block of scores.
    net.forward(&p, &symbols(120), 40, &mut workspace);
    for (n, len) in [(6, 3), (5, 5), (1, 1), (35, 35)] {
        let (inputs, weights) = (symbols(n), normals::<f64>(n * 5, &mut seeded(2)));
        let mut dp = vec![0.0; p.len()];
        net.forward(&p, &inputs, len, &mut workspace).copy_from_slice(&weights);
        net.backward(Weights { p: &p, t: &t }, &inputs, len, &mut dp, &mut workspace);
        let mut other = CausalWorkspace::default();
        let want = differences(&p, |p| {
            net.infer(p, &inputs, len, &mut other).iter().zip(&weights).map(|(y, w)| y * w).sum()
        });
        assert_close(&format!("{n} symbols, {len} in a sequence"), 1e-7, &dp, &want);
    }
}

#[test]
fn causal_network_gradients_add_up() {
    let (net, p) = network();
    let mut t = p.clone();
    net.transpose(&p, &mut t);
    let (mut workspace, inputs) = (CausalWorkspace::default(), symbols(6));
    let mut dp = vec![0.0; p.len()];
    let mut once = Vec::new();
    for _ in 0..2 {
        net.forward(&p, &inputs, 6, &mut workspace).fill(1.0);
        net.backward(Weights { p: &p, t: &t }, &inputs, 6, &mut dp, &mut workspace);
        once = if once.is_empty() { dp.clone() } else { once };
    }
    assert_close("two calls", 1e-13, &dp, &once.iter().map(|dp| 2.0 * dp).collect::<Vec<_>>());
}

#[test]
fn causal_network_sees_the_past_only_and_its_order() {
    let (net, p) = network();
    let mut workspace = CausalWorkspace::default();
    let mut at_last = |inputs: &[u32]| {
        let logits = net.infer(&p, inputs, inputs.len(), &mut workspace);
        (logits[..logits.len() - 5].to_vec(), logits[logits.len() - 5..].to_vec())
    };
    let (before, last) = at_last(&[0, 1, 2, 3]);
    let (same, changed) = at_last(&[0, 1, 2, 4]);
    assert_eq!(before, same);
    assert_ne!(last, changed);
    let (_, swapped) = at_last(&[1, 0, 2, 3]);
    assert!(last.iter().zip(&swapped).any(|(a, b)| (a - b).abs() > 1e-3), "{last:?}");
}

/// A query and a key feel their distance, not their places: with one block, what a symbol adds to the one behind
/// it is the same wherever the two stand.
#[test]
fn rotary_products_depend_on_the_distance() {
    let mut rotary = Rotary::default();
    rotary.reach(50, 6);
    let ones = [1.0; 6];
    let product = |i: usize, j: usize| -> f64 {
        let (mut q, mut k) = ([0.0; 6], [0.0; 6]);
        rotary.turn(i, 2.0, &[0.3, -1.0, 0.7, 1.1, 0.2, -0.4], &ones, &mut q);
        rotary.turn(j, 1.0, &[-0.6, 0.5, 0.9, 0.1, 1.4, 0.8], &ones, &mut k);
        q.iter().zip(&k).map(|(q, k)| q * k).sum()
    };
    for distance in [0, 1, 7] {
        assert!((product(distance, 0) - product(40 + distance, 40)).abs() < 1e-12);
    }
    assert!((product(1, 0) - product(7, 0)).abs() > 1e-2);
}

#[test]
fn decoding_gives_the_bits_of_whole_sequences() {
    // Heads of 4, 16, 20 and 32 columns: parts of vectors, whole ones, and both.
    [8, 32, 40, 64].into_iter().for_each(assert_decoding_gives_the_bits);
}

fn assert_decoding_gives_the_bits(width: usize) {
    let net = CausalNetwork::new(5, width, 2, 2);
    let p: Vec<f32> = normals::<f32>(net.num_params(), &mut seeded(1)).iter().map(|p| 0.3 * p).collect();
    let (len, sequences) = (37, 3);
    let inputs = symbols(len * sequences);
    let mut workspace = CausalWorkspace::default();
    let whole = net.infer(&p, &inputs, len, &mut workspace).to_vec();
    assert_eq!(whole, *net.forward(&p, &inputs, len, &mut workspace));
    let mut state = Decoding::new(&net, sequences, len);
    let at = |place: usize| [0, 1, 2].map(|s| inputs[s * len + place]);
    // What is forgotten leaves no trace.
    for place in 0..20 {
        net.push(&p, &at(len - 1 - place), &mut state);
    }
    state.rewind(0);
    for place in 0..len {
        let logits = net.push(&p, &at(place), &mut state);
        for s in 0..sequences {
            assert_eq!(logits[s * 5..][..5], whole[(s * len + place) * 5..][..5], "place {place} of {s}");
        }
        // Every prefix by itself, in a sequence of another length.
        let alone = net.infer(&p, &inputs[..=place], place + 1, &mut workspace);
        assert_eq!(alone[place * 5..], whole[place * 5..][..5], "place {place} by itself");
    }
    assert_eq!((state.len(), state.is_empty()), (len, false));
}

#[test]
fn causal_network_starts_as_its_embedding() {
    let net = CausalNetwork::new(5, 8, 2, 3);
    let mut p = vec![f64::NAN; net.num_params()];
    net.init(&mut p, &mut seeded(0));
    let logits = net.infer(&p, &[2, 4], 2, &mut CausalWorkspace::default()).to_vec();
    let e = |symbol: usize| -> Vec<f64> { (0..8).map(|j| p[j * 5 + symbol]).collect() };
    for (place, symbol) in [2, 4].into_iter().enumerate() {
        let h = e(symbol);
        let rms = (h.iter().map(|h| h * h).sum::<f64>() / 8.0 + 1e-6).sqrt();
        let want: Vec<f64> =
            (0..5).map(|other| h.iter().zip(e(other)).map(|(h, e)| h / rms * e).sum()).collect();
        assert_close("logits", 1e-12, &logits[place * 5..][..5], &want);
    }
}

#[test]
fn causal_layout_is_that_of_the_parameters() {
    let (net, p) = network();
    let mut layout = Layout::default();
    net.describe(&mut layout);
    assert_eq!(layout.num_params(), p.len());
    let block = net.block(1);
    for (name, part) in [("qkv", block.qkv), ("down", block.down), ("mlp_norm", block.norm_mlp)] {
        assert_eq!(layout.get(&format!("block.1.{name}")).unwrap().range, part, "{name}");
    }
    let undecayed: usize = net.undecayed().iter().map(|range| range.len()).sum();
    assert_eq!(undecayed, 5 * 8 + 2 * (8 + 16 + 8) + 8);
}

/// Logits and a gradient of `tests/golden/causal.py`, by JAX.
#[test]
fn causal_network_agrees_with_another_automatic_differentiation() {
    #[derive(serde::Deserialize)]
    struct Golden {
        logits: Vec<f64>,
        dp: Vec<f64>,
    }
    let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/causal.json")).unwrap();
    let net = CausalNetwork::new(5, 8, 2, 2);
    let p = sines(net.num_params(), 0.3, 0.6);
    let mut t = p.clone();
    net.transpose(&p, &mut t);
    let (inputs, mut workspace) = ([4, 0, 1, 3, 2, 1, 4, 2], CausalWorkspace::default());
    let logits = net.forward(&p, &inputs, 4, &mut workspace);
    assert_close("logits", 1e-10, logits, &golden.logits);
    logits.copy_from_slice(&sines(40, 1.1, 1.0));
    let mut dp = vec![0.0; p.len()];
    net.backward(Weights { p: &p, t: &t }, &inputs, 4, &mut dp, &mut workspace);
    assert_close("dp", 1e-10, &dp, &golden.dp);
}
