"""Golden values of tests/golden_nn.rs by JAX's automatic differentiation, in f64. Needs jax; prints JSON:

    python tests/golden/nn.py > tests/golden/nn.json

Parameters, inputs and directions are sines of their index, so that both sides make the same ones without sharing a
generator. Every network is written here as plain functions, independent of the crate's layers.
"""
import json

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)
ROWS = 3


def wave(n, phase, scale=1.0):
    return scale * jnp.sin(1.7 * jnp.arange(1, n + 1) + phase)


ACTIVATIONS = {
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "softplus": jax.nn.softplus,
    "relu": jax.nn.relu,
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.2),
}


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
        w = self.take(x.shape[1], out)
        return x @ w + self.take(out)


def mlp(act):
    def f(p, x):
        r = Reader(p)
        return r.linear(act(r.linear(act(r.linear(x, 6)), 5)), 2)
    return f, 3, 2, 3 * 6 + 6 + 6 * 5 + 5 + 5 * 2 + 2


def fourier_residual(p, x):
    """[x, sin, cos at 1.5 and 3] -> linear 4 -> silu -> x + (linear 7, gelu, linear 4) -> linear 1."""
    r = Reader(p)
    w = jnp.array([1.5, 3.0])
    h = jnp.concatenate([x] + [jnp.sin(k * x) for k in w] + [jnp.cos(k * x) for k in w], 1)
    h = jax.nn.silu(r.linear(h, 4))
    h = h + r.linear(jax.nn.gelu(r.linear(h, 7), approximate=True), 4)
    return r.linear(h, 1)


def masked(p, x):
    """linear 3 -> 4 where input i reaches output o unless (i + o) % 3 == 0, then tanh, then linear 4 -> 2."""
    r = Reader(p)
    mask = (jnp.arange(3)[:, None] + jnp.arange(4)[None, :]) % 3 != 0
    w = r.take(3, 4) * mask
    h = jnp.tanh(x @ w + r.take(4))
    return r.linear(h, 2)


def case(f, inputs, outputs, params):
    p, x = wave(params, 0.3, 0.6), wave(ROWS * inputs, 1.1).reshape(ROWS, inputs)
    xdot = wave(ROWS * inputs, 2.3).reshape(ROWS, inputs)
    dy, dydot = (wave(ROWS * outputs, ph).reshape(ROWS, outputs) for ph in (0.7, 1.9))
    y, ydot = jax.jvp(lambda x: f(p, x), (x,), (xdot,))
    first = jax.grad(lambda p, x: (dy * f(p, x)).sum(), (0, 1))(p, x)

    def phi(p, x, xdot):
        y, ydot = jax.jvp(lambda x: f(p, x), (x,), (xdot,))
        return (dy * y).sum() + (dydot * ydot).sum()

    second = jax.grad(phi, (0, 1, 2))(p, x, xdot)
    out = dict(y=y, ydot=ydot, dp=first[0], dx=first[1], dp2=second[0], dx2=second[1], dxdot2=second[2])
    if outputs == 1:
        # The gradient penalty of WGAN-GP, differentiated by JAX twice.
        def penalty(p):
            g = jax.grad(lambda x: f(p, x).sum())(x)
            return 10.0 * ((jnp.sqrt((g * g).sum(1)) - 1.0) ** 2).sum()
        out["penalty"], out["penalty_dp"] = jnp.array([penalty(p)]), jax.grad(penalty)(p)
    return {k: [float(v) for v in jnp.ravel(a)] for k, a in out.items()}


cases = {f"mlp_{name}": case(*mlp(act)) for name, act in ACTIVATIONS.items()}
cases["fourier_residual"] = case(fourier_residual, 2, 1, 10 * 4 + 4 + 4 * 7 + 7 + 7 * 4 + 4 + 4 + 1)
cases["masked"] = case(masked, 3, 2, 3 * 4 + 4 + 4 * 2 + 2)
print(json.dumps(cases, indent=0))
