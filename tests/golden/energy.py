"""Golden values of src/energy/tests/golden.rs by JAX's automatic differentiation, in f64. Needs jax; prints JSON:

    python tests/golden/energy.py > tests/golden/energy.json

Parameters, rows and noise are sines of their index, so that both sides make the same ones without sharing a generator.
Networks and losses are written here as plain functions, independent of the crate's.
"""
import json

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)
ROWS = 4


def wave(n, phase, scale=1.0):
    return scale * jnp.sin(1.7 * jnp.arange(1, n + 1) + phase)


class Reader:
    """Takes matrices and biases off a flat slice, in order."""

    def __init__(self, p):
        self.p, self.at = p, 0

    def take(self, *shape):
        n = 1
        for s in shape:
            n *= s
        part = self.p[self.at:self.at + n].reshape(shape)
        self.at += n
        return part

    def linear(self, x, out):
        w = self.take(x.shape[-1], out)
        return x @ w + self.take(out)


def energy(p, z, width):
    """Scalar, of one row: [z, sin 1z, sin 2z, cos 1z, cos 2z] -> 6 -> silu -> 5 -> silu -> 1, plus |z|^2 / 2 width^2."""
    r = Reader(p)
    h = jnp.concatenate([z, jnp.sin(z), jnp.sin(2 * z), jnp.cos(z), jnp.cos(2 * z)])
    h = jax.nn.silu(r.linear(h, 6))
    h = jax.nn.silu(r.linear(h, 5))
    return r.linear(h, 1)[0] + (z @ z) / (2 * width**2)


def denoising(p, x, eps, sigma, width):
    """sum |s(x~) - (x - x~)/sigma^2|^2 sigma^2 / d, s = -grad E (Vincent 2011, eq. 9)."""
    def row(x, eps):
        noisy = x + sigma * eps
        s = -jax.grad(energy, 1)(p, noisy, width)
        return ((s - (x - noisy) / sigma**2) ** 2).sum() * sigma**2 / x.size
    return jax.vmap(row)(x, eps).sum()


def score(p, x, sigma):
    """s(x, sigma) of one row x: the noise predictor in its variance-preserving units, s = -eps/sigma."""
    alpha, small = 1 / jnp.sqrt(1 + sigma**2), sigma / jnp.sqrt(1 + sigma**2)
    u, lam = alpha * x, -2 * jnp.log(sigma)
    fade = [jnp.exp(-((w * small) ** 2) / 4) for w in (1.0, 2.0)]
    f = jnp.concatenate([u, fade[0] * jnp.sin(u), fade[0] * jnp.cos(u), fade[1] * jnp.sin(2 * u), fade[1] * jnp.cos(2 * u)])
    frequencies = jnp.array([1.0, 10000.0**-0.5])
    t = jnp.concatenate([jnp.sin(frequencies * lam), jnp.cos(frequencies * lam)])
    r = Reader(p)
    h = r.linear(t, 6) + f @ r.take(f.size, 6)
    h = r.linear(jax.nn.silu(h), 5)
    v = r.linear(jax.nn.silu(h), x.size)
    return -(small * u + alpha * v) / sigma


def sliced(p, x, eps, directions, sigmas):
    """sum 2 sigma^2 (v.(ds/dx)v + |s|^2/2) / d at blurred rows (Song et al. 2019, eq. 8)."""
    def row(x, eps, v, sigma):
        s, sdot = jax.jvp(lambda x: score(p, x, sigma), (x + sigma * eps,), (v,))
        return 2 * sigma**2 * (v @ sdot + 0.5 * (s @ s)) / x.size
    return jax.vmap(row)(x, eps, directions, sigmas).sum()


def case(loss, p, *rest):
    value, dp = jax.value_and_grad(loss)(p, *rest)
    return {"loss": float(value), "dp": [float(v) for v in dp]}


D = 3
rows, eps = wave(ROWS * D, 1.1).reshape(ROWS, D), wave(ROWS * D, 2.3, 1.2).reshape(ROWS, D)
directions = jnp.sign(wave(ROWS * D, 0.4)).reshape(ROWS, D)
sigmas = jnp.array([0.1, 0.5, 1.0, 2.0])
scalar = wave(5 * D * 6 + 6 + 6 * 5 + 5 + 5 + 1, 0.3, 0.6)
vector = wave(4 * 6 + 6 + 5 * D * 6 + 6 * 5 + 5 + 5 * D + D, 0.3, 0.6)
print(json.dumps({
    "denoising": case(denoising, scalar, rows, eps, 0.3, 1.5),
    "sliced": case(sliced, vector, rows, eps, directions, sigmas),
}, indent=0))
