"""Golden values of src/nn/causal/tests.rs by JAX's automatic differentiation, in f64. Needs jax; prints JSON:

    python tests/golden/causal.py > tests/golden/causal.json

Parameters and the gradient of the logits are sines of their index, so that both sides make the same ones without
sharing a generator. The transformer is written here from its formulas, independent of the crate's.
"""
import json

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)
SYMBOLS, WIDTH, HEADS, BLOCKS = 5, 8, 2, 2
SIZE = WIDTH // HEADS
INPUTS = jnp.array([[4, 0, 1, 3], [2, 1, 4, 2]])


def wave(n, phase, scale=1.0):
    return scale * jnp.sin(1.7 * jnp.arange(1, n + 1) + phase)


def shapes():
    yield WIDTH, SYMBOLS
    for _ in range(BLOCKS):
        yield from [(WIDTH,), (WIDTH, 3 * WIDTH), (HEADS, SIZE), (HEADS, SIZE), (WIDTH, WIDTH), (WIDTH,)]
        yield from [(WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)]
    yield (WIDTH,)


def tensors(p):
    at = 0
    for shape in shapes():
        n = 1
        for s in shape:
            n *= s
        yield p[at:at + n].reshape(shape)
        at += n


def norm(x):
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)


def turn(x):
    """Pairs (x_j, x_{j + half}) as complex numbers, times exp(i place 10000^(-j / half)); x: (sequences, heads, places, size)."""
    half = SIZE // 2
    z = x[..., :half] + 1j * x[..., half:]
    angle = jnp.arange(x.shape[-2])[:, None] * 10_000.0 ** (-jnp.arange(half) / half)
    z = z * jnp.exp(1j * angle)
    return jnp.concatenate([z.real, z.imag], -1)


def heads(x):
    return x.reshape(*x.shape[:2], HEADS, SIZE).swapaxes(1, 2)


def logits(p):
    parts = tensors(p)
    embedding = next(parts)
    h = embedding.T[INPUTS]
    places = INPUTS.shape[1]
    mask = jnp.tril(jnp.ones((places, places), bool))
    for _ in range(BLOCKS):
        g, qkv, gq, gk, out, g_mlp, up, down = (next(parts) for _ in range(8))
        q, k, v = map(heads, jnp.split(norm(h) * g @ qkv, 3, axis=-1))
        q, k = turn(norm(q) * gq[:, None]), turn(norm(k) * gk[:, None])
        scores = jnp.where(mask, q @ k.swapaxes(-1, -2) / jnp.sqrt(SIZE), -jnp.inf)
        o = (jax.nn.softmax(scores) @ v).swapaxes(1, 2).reshape(h.shape)
        h = h + o @ out
        h = h + 0.5 * jax.nn.relu(norm(h) * g_mlp @ up) ** 2 @ down
    return norm(h) * next(parts) @ embedding


n = sum(int(jnp.prod(jnp.array(shape))) for shape in shapes())
y, back = jax.vjp(logits, wave(n, 0.3, 0.6))
dp, = back(wave(y.size, 1.1).reshape(y.shape))
print(json.dumps({"logits": y.ravel().tolist(), "dp": dp.tolist()}))
