"""Golden values of src/flow/tests/derivatives.rs by JAX's automatic differentiation, in f64. Needs jax; prints JSON:

    python tests/golden/flow.py > tests/golden/flow.json

The whole model once more, from the papers: two layers on three columns with a learned linear map between, couplings and
masked autoregressive layers, affine, rational-quadratic, and both with linear tails and a base with covariances. Parameters and rows are sines of their index, so that both
sides make the same ones without sharing a generator.
"""
import json

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
DIM, UNITS, ROWS, BINS, BOUND = 3, 4, 4, 4, 2.0


def wave(n, phase, scale=1.0):
    return scale * jnp.sin(1.7 * jnp.arange(1, n + 1) + phase)


def affine(theta, x):
    s = 3 * jnp.tanh(theta[0] / 3)
    return (x - theta[1]) * jnp.exp(s), s


def spline(theta, x, free=False):
    """Durkan et al. 2019, eqs. 4 and 5, with their least sizes of 1e-3; identity tails, or `free` slopes at the ends,
    which go on outside."""
    def knots(raw):
        sizes = 1e-3 + (1 - 1e-3 * BINS) * jax.nn.softmax(raw)
        return -BOUND + 2 * BOUND * jnp.concatenate([jnp.zeros(1), jnp.cumsum(sizes)])
    xs, ys = knots(theta[:BINS]), knots(theta[BINS:2 * BINS])
    inside = 1e-3 + jax.nn.softplus(theta[2 * BINS:] + jnp.log(jnp.exp(1 - 1e-3) - 1))
    slopes = inside if free else jnp.concatenate([jnp.ones(1), inside, jnp.ones(1)])

    def value(x):
        k = jnp.clip(jnp.searchsorted(xs, x, side="right") - 1, 0, BINS - 1)
        w, h, a, b = xs[k + 1] - xs[k], ys[k + 1] - ys[k], slopes[k], slopes[k + 1]
        s, xi = h / w, (x - xs[k]) / w
        return ys[k] + h * (s * xi ** 2 + a * xi * (1 - xi)) / (s + (a + b - 2 * s) * xi * (1 - xi))

    within = jnp.abs(x) <= BOUND
    at = jnp.where(within, x, 0.0)
    if free:
        outer = jnp.where(x < 0, slopes[0], slopes[-1])
        line = BOUND * jnp.sign(x) + outer * (x - BOUND * jnp.sign(x))
        return jnp.where(within, value(at), line), jnp.log(jnp.where(within, jax.grad(value)(at), outer))
    return jnp.where(within, value(at), x), jnp.where(within, jnp.log(jax.grad(value)(at)), 0.0)


def affine_spline(theta, x):
    v, s = affine(theta[:2], x)
    y, log_slope = spline(theta[2:], v, free=True)
    return y, s + log_slope


def masks(params):
    """Degrees of MADE: feature f of coordinate f % 2, hidden units spread evenly, outputs by coordinate."""
    features = 1 + np.arange(3 * (DIM - 1)) % (DIM - 1)
    hidden = 1 + np.arange(UNITS) * (DIM - 1) // UNITS
    outputs = np.arange(DIM * params) // params
    return features[:, None] <= hidden, hidden[:, None] <= outputs


def conditioner(masked, params):
    """(number of parameters, f(p, row) -> theta of each moving coordinate); x, sin x, cos x, tanh units, linear."""
    sees = DIM - 1 if masked else DIM // 2
    moves = DIM if masked else DIM - sees
    shapes = [(3 * sees, UNITS), (UNITS, moves * params)]
    mask = masks(params) if masked else (1, 1)

    def f(p, row):
        seen, at = jnp.clip(row[:sees], -10, 10), 0  # a conditioner's reach
        h = jnp.concatenate([seen, jnp.sin(seen), jnp.cos(seen)])
        for layer, (i, o) in enumerate(shapes):
            w, at = p[at:at + i * o].reshape(i, o), at + i * o
            h, at = h @ (w * mask[layer]) + p[at:at + o], at + o
            h = jnp.tanh(h) if layer == 0 else h
        return h.reshape(moves, params)
    return sum((i + 1) * o for i, o in shapes), moves, f


def linear(p, x, step=-1):
    a = p.reshape(DIM, DIM)
    lower, upper = jnp.tril(a, -1) + jnp.eye(DIM), jnp.triu(a, 1) + jnp.diag(jnp.exp(jnp.diag(a)))
    w = (lower @ upper)[::step]
    return w @ x, jnp.linalg.slogdet(w)[1]


def model(masked, transform, params, base):
    count, moves, theta_of = conditioner(masked, params)

    def nats(p, x):
        total, at = 0.0, 0
        for layer in range(2):
            theta, at = theta_of(p[at:at + count], x), at + count
            moved, log_det = jax.vmap(transform)(theta, x[DIM - moves:])
            x, total = jnp.concatenate([x[:DIM - moves], moved]), total + log_det.sum()
            if layer == 0:
                (x, log_det), at = linear(p[at:at + DIM * DIM], x), at + DIM * DIM
                total += log_det
        if base:
            x, log_det = linear(p[at:], x, step=1)
            total += log_det
        return total - 0.5 * (x ** 2).sum() - 0.5 * DIM * jnp.log(2 * jnp.pi)
    return 2 * count + (2 if base else 1) * DIM * DIM, jax.vmap(nats, (None, 0))


golden = {}
for first, masked in [("coupling", False), ("masked", True)]:
    for second, transform, params, base in [
        ("affine", affine, 2, False),
        ("spline", spline, 3 * BINS - 1, False),
        ("affine spline", affine_spline, 3 * BINS + 3, True),
    ]:
        count, nats = model(masked, transform, params, base)
        p, x = wave(count, 0.3, 0.8), wave(ROWS * DIM, 1.1, 2.5).reshape(ROWS, DIM)
        dp = jax.grad(lambda p: -nats(p, x).sum())(p)
        golden[f"{first} {second}"] = {
            "nats": [float(f"{v:.12g}") for v in nats(p, x)],
            "dp": [float(f"{v:.12g}") for v in dp],
        }
print(json.dumps(golden))
