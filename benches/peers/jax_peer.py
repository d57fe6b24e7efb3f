"""The workloads of benches/workloads/mod.rs in JAX, timed on request.

Needs jax and optax. `examples/speed --peer jax` starts it, once per number of threads, and talks to it: a line
"NAME SECONDS" on the standard input is answered by one line with milliseconds per call, the median of calls that
fill about that many seconds. A workload that does not exist here is answered by "none". What is compiled stays
compiled, so a later request for the same name only measures.

Arguments: the number of threads, which run on as many of the first cores; optionally the bits of the vectors that XLA
shall prefer.

A training step is timed both as one jitted call per step and as a scan over 100 steps, and the faster counts.
"""
import os
import statistics
import sys
import time

THREADS = int(sys.argv[1])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    ["--xla_cpu_multi_thread_eigen=false"] * (THREADS == 1)
    + [f"--xla_cpu_prefer_vector_width={bits}" for bits in sys.argv[2:]]
)

import jax
import jax.numpy as jnp
import optax
from jax import lax, random

KEY = random.key(0)
DATA = random.normal(KEY, (10_000, 2))


def mlp_init(key, sizes):
    keys = random.split(key, len(sizes) - 1)
    pairs = zip(sizes, sizes[1:])
    return [(random.normal(k, (i, o)) * (2 / i) ** 0.5, jnp.zeros(o)) for k, (i, o) in zip(keys, pairs)]


def mlp(params, x, activation):
    *hidden, (w, b) = params
    for hw, hb in hidden:
        x = activation(x @ hw + hb)
    return x @ w + b


def leaky_relu(x):
    return jnp.where(x > 0, x, 0.2 * x)


# The noise predictor; a linear schedule over 1000 timesteps, and the embeddings of all timesteps in a table.
T = 1000
BETA = jnp.linspace(1e-4, 0.02, T)
ALPHA_BAR = jnp.cumprod(1 - BETA)
OMEGA = jnp.exp(-jnp.log(1e4) * jnp.arange(16) / 16)
ANGLES = jnp.arange(T)[:, None] * OMEGA
TABLE = jnp.concatenate([jnp.sin(ANGLES), jnp.cos(ANGLES)], 1)
EPS = mlp_init(KEY, [34, 128, 128, 128, 2])


def eps_hat(params, x, embedding):
    """embedding: (n, 32), or (32) for all rows, whose share of the first layer is then computed once."""
    if embedding.ndim == 2:
        return mlp(params, jnp.concatenate([x, embedding], 1), jax.nn.silu)
    (w, b), *others = params
    return mlp([(w[:2], embedding @ w[2:] + b), *others], x, jax.nn.silu)


ADAM = optax.adam(1e-3)


def eps_step(batch):
    def step(state):
        params, moments, average, key = state
        key, rows, times, noise = random.split(key, 4)
        x0 = DATA[random.randint(rows, (batch,), 0, len(DATA))]
        t = random.randint(times, (batch,), 0, T)
        eps = random.normal(noise, (batch, 2))
        alpha_bar = ALPHA_BAR[t, None]
        x = jnp.sqrt(alpha_bar) * x0 + jnp.sqrt(1 - alpha_bar) * eps
        gradient = jax.grad(lambda p: jnp.mean((eps_hat(p, x, TABLE[t]) - eps) ** 2))(params)
        update, moments = ADAM.update(gradient, moments)
        params = optax.apply_updates(params, update)
        average = jax.tree.map(lambda a, p: 0.999 * a + 0.001 * p, average, params)
        return params, moments, average, key

    return step, (EPS, ADAM.init(EPS), EPS, KEY)


def ddpm(key):
    first, key = random.split(key)

    def body(i, carry):
        x, key = carry
        t = T - 1 - i
        key, now = random.split(key)
        mean = (x - BETA[t] / jnp.sqrt(1 - ALPHA_BAR[t]) * eps_hat(EPS, x, TABLE[t])) / jnp.sqrt(1 - BETA[t])
        noise = random.normal(now, x.shape)
        return mean + jnp.where(t > 0, jnp.sqrt(BETA[t]), 0) * noise, key

    return lax.fori_loop(0, T, body, (random.normal(first, (10_000, 2)), key))[0]


def ddim(n, steps=50):
    grid = jnp.round(jnp.linspace(T - 1, 0, steps + 1)).astype(int)

    def sample(key):
        def body(i, x):
            now, then = ALPHA_BAR[grid[i]], jnp.where(i == steps - 1, 1.0, ALPHA_BAR[grid[i + 1]])
            eps = eps_hat(EPS, x, TABLE[grid[i]])
            x0 = (x - jnp.sqrt(1 - now) * eps) / jnp.sqrt(now)
            return jnp.sqrt(then) * x0 + jnp.sqrt(1 - then) * eps

        return lax.fori_loop(0, steps, body, random.normal(key, (n, 2)))

    return sample


def ode_log_likelihood(x, steps=100):
    """Fourth-order Runge-Kutta on the probability-flow ODE, the divergence by both tangents."""
    start, h = 1e-3, (1 - 1e-3) / steps

    def right_side(x, t):
        beta = 0.1 + 19.9 * t
        sigma = jnp.sqrt(-jnp.expm1(-0.1 * t - 9.95 * t * t))
        angles = 1000 * t * OMEGA
        embedding = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
        drift, tangent = jax.linearize(lambda x: -0.5 * beta * (x - eps_hat(EPS, x, embedding) / sigma), x)
        ones, zeros = jnp.ones_like(x[:, 0]), jnp.zeros_like(x[:, 0])
        by_first = tangent(jnp.stack([ones, zeros], 1))[:, 0]
        by_second = tangent(jnp.stack([zeros, ones], 1))[:, 1]
        return drift, by_first + by_second

    def body(i, carry):
        x, nats = carry
        t = start + i * h
        k1, d1 = right_side(x, t)
        k2, d2 = right_side(x + h / 2 * k1, t + h / 2)
        k3, d3 = right_side(x + h / 2 * k2, t + h / 2)
        k4, d4 = right_side(x + h * k3, t + h)
        return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), nats + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)

    x, nats = lax.fori_loop(0, steps, body, (x, jnp.zeros(len(x))))
    return nats - 0.5 * jnp.sum(x**2, 1) - jnp.log(2 * jnp.pi)


CRITIC = mlp_init(KEY, [2, 128, 128, 128, 1])
CRITIC_ADAM = optax.adam(1e-4, b1=0.5, b2=0.9)


def critic_step(state, batch=256):
    params, moments, key = state
    key, rows, latent, mix = random.split(key, 4)
    real = DATA[random.randint(rows, (batch,), 0, len(DATA))]
    fake = random.normal(latent, (batch, 2))
    share = random.uniform(mix, (batch, 1))

    def loss(p):
        score = lambda x: mlp(p, x, leaky_relu)
        slope = jax.grad(lambda x: jnp.sum(score(x)))(share * real + (1 - share) * fake)
        penalty = (jnp.sqrt(jnp.sum(slope**2, 1) + 1e-12) - 1) ** 2
        return jnp.mean(score(fake)) - jnp.mean(score(real)) + 0.1 * jnp.mean(penalty)

    update, moments = CRITIC_ADAM.update(jax.grad(loss)(params), moments)
    return optax.apply_updates(params, update), moments, key


DECODER = mlp_init(KEY, [2, 128, 128, 2])
GAUSSIAN = 0.5 * jnp.log(2 * jnp.pi) * 2


def coupling_init():
    return [mlp_init(random.fold_in(KEY, i), [1, 64, 64, 2]) for i in range(8)]


COUPLINGS = coupling_init()


def coupling_log_density(couplings, x):
    """Eight affine couplings on the plane, the coordinates in turn."""
    log_det = jnp.zeros(len(x))
    for i, params in enumerate(couplings):
        keep, move = x[:, i % 2], x[:, 1 - i % 2]
        out = mlp(params, keep[:, None], jax.nn.relu)
        scale = jnp.tanh(out[:, 0])
        move = (move - out[:, 1]) * jnp.exp(-scale)
        log_det -= scale
        x = jnp.stack([keep, move] if i % 2 == 0 else [move, keep], 1)
    return log_det - 0.5 * jnp.sum(x**2, 1) - GAUSSIAN


def coupling_sample(key, n=10_000):
    x = random.normal(key, (n, 2))
    for i, params in reversed(list(enumerate(COUPLINGS))):
        keep, move = x[:, i % 2], x[:, 1 - i % 2]
        out = mlp(params, keep[:, None], jax.nn.relu)
        move = move * jnp.exp(jnp.tanh(out[:, 0])) + out[:, 1]
        x = jnp.stack([keep, move] if i % 2 == 0 else [move, keep], 1)
    return x


def coupling_step(state, batch=512):
    params, moments, key = state
    key, rows = random.split(key)
    x = DATA[random.randint(rows, (batch,), 0, len(DATA))]
    gradient = jax.grad(lambda p: -jnp.mean(coupling_log_density(p, x)))(params)
    update, moments = ADAM.update(gradient, moments)
    return optax.apply_updates(params, update), moments, key


# The causal transformer: RMS norms, rotary positions, normalized queries and keys, half the squared ReLU, a tied head.
BLOCKS, WIDTH, HEADS, SYMBOLS, PLACES, GENERATED = 4, 64, 4, 66, 128, 256
SIZE = WIDTH // HEADS
TURN = jnp.exp(1j * jnp.arange(GENERATED)[:, None] * 10_000.0 ** (-jnp.arange(SIZE // 2) / (SIZE // 2)))
TEXT = random.randint(KEY, (1_000, PLACES), 0, SYMBOLS - 1)


def transformer_init():
    normal = lambda i, *shape: shape[0] ** -0.5 * random.normal(random.fold_in(KEY, i), shape)
    ones = jnp.ones
    block = lambda i: dict(
        norm=ones(WIDTH), qkv=normal(2 * i, WIDTH, 3 * WIDTH), gains=ones((2, HEADS, SIZE)), out=jnp.zeros((WIDTH, WIDTH)),
        mlp_norm=ones(WIDTH), up=normal(2 * i + 1, WIDTH, 4 * WIDTH), down=jnp.zeros((4 * WIDTH, WIDTH)),
    )
    embedding = 0.02 * random.normal(KEY, (SYMBOLS, WIDTH))
    return dict(embedding=embedding, blocks=[block(i) for i in range(BLOCKS)], norm=ones(WIDTH))


def rms_norm(x):
    return x * lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)


def turned(x, turn):
    cos, sin = jnp.real(turn), jnp.imag(turn)
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def projected(block, h, turn):
    """Queries, keys and values: (…, heads, size); `turn`: (…, 1, size / 2)."""
    qkv = (rms_norm(h) * block["norm"]) @ block["qkv"]
    q, k, v = (part.reshape(*h.shape[:-1], HEADS, SIZE) for part in jnp.split(qkv, 3, -1))
    q, k = rms_norm(q) * block["gains"][0], rms_norm(k) * block["gains"][1]
    return turned(q, turn) * SIZE**-0.5, turned(k, turn), v


def after_attention(block, h, o):
    h = h + o.reshape(h.shape) @ block["out"]
    r = jax.nn.relu((rms_norm(h) * block["mlp_norm"]) @ block["up"])
    return h + 0.5 * r**2 @ block["down"]


def transformer_logits(params, inputs):
    h = params["embedding"][inputs]
    places = inputs.shape[1]
    seen = jnp.tril(jnp.ones((places, places), bool))
    for block in params["blocks"]:
        q, k, v = projected(block, h, TURN[:places, None])
        scores = jnp.where(seen, jnp.einsum("nihc,njhc->nhij", q, k), -jnp.inf)
        h = after_attention(block, h, jnp.einsum("nhij,njhc->nihc", jax.nn.softmax(scores), v))
    return (rms_norm(h) * params["norm"]) @ params["embedding"].T


ADAM_W = optax.adamw(3e-3, b2=0.95, weight_decay=0.1)


def transformer_step(state, batch=16):
    params, moments, average, key = state
    key, rows = random.split(key)
    x = TEXT[random.randint(rows, (batch,), 0, len(TEXT))]
    inputs = jnp.concatenate([jnp.full((batch, 1), SYMBOLS - 1), x[:, :-1]], 1)
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels
    gradient = jax.grad(lambda p: jnp.mean(cross_entropy(transformer_logits(p, inputs), x)))(params)
    update, moments = ADAM_W.update(gradient, moments, params)
    params = optax.apply_updates(params, update)
    average = jax.tree.map(lambda a, p: 0.999 * a + 0.001 * p, average, params)
    return params, moments, average, key


def transformer_decode(symbols):
    """Logits behind each of some symbols, one by one, with a cache of keys and values."""
    params = TRANSFORMER

    def push(caches, at):
        h, new = params["embedding"][symbols[at]], []
        for block, (keys, values) in zip(params["blocks"], caches):
            q, k, v = projected(block, h, TURN[at])
            keys, values = keys.at[:, at].set(k), values.at[:, at].set(v)
            scores = jnp.where(jnp.arange(GENERATED) <= at, jnp.einsum("hc,hjc->hj", q, keys), -jnp.inf)
            h = after_attention(block, h, jnp.einsum("hj,hjc->hc", jax.nn.softmax(scores), values))
            new.append((keys, values))
        return new, (rms_norm(h) * params["norm"]) @ params["embedding"].T

    empty = [(jnp.zeros((HEADS, GENERATED, SIZE)),) * 2 for _ in range(BLOCKS)]
    return lax.scan(push, empty, jnp.arange(GENERATED))[1]


TRANSFORMER = transformer_init()


def calls(function, *arguments):
    """One workload: run(k) calls a jitted function k times and waits for each result."""
    compiled = jax.jit(function)

    def run(k):
        for _ in range(k):
            jax.block_until_ready(compiled(*arguments))

    return [(run, 1)]


def steps(step, state):
    """A training step, alone and a hundred in one scan; the parameters' buffers are given back each time."""

    def carried(function):
        compiled = jax.jit(function, donate_argnums=0)
        box = [jax.tree.map(jnp.array, state)]

        def run(k):
            for _ in range(k):
                box[0] = compiled(box[0])
            jax.block_until_ready(box[0])

        return run

    hundred = lambda state: lax.scan(lambda s, _: (step(s), None), state, None, 100)[0]
    return [(carried(step), 1), (carried(hundred), 100)]


WORKLOADS = {
    "W1": lambda: steps(*eps_step(256)),
    "W1b": lambda: steps(*eps_step(2048)),
    "W2": lambda: calls(ddpm, KEY),
    "W3": lambda: calls(ddim(10_000), KEY),
    "W3-1": lambda: calls(ddim(1), KEY),
    "W4": lambda: calls(lambda z: mlp(DECODER, z, leaky_relu), DATA),
    "W4-1": lambda: calls(lambda z: mlp(DECODER, z, leaky_relu), DATA[:1]),
    "W5": lambda: calls(ode_log_likelihood, DATA[:1000]),
    "W6": lambda: steps(critic_step, (CRITIC, CRITIC_ADAM.init(CRITIC), KEY)),
    "W7": lambda: steps(transformer_step, (TRANSFORMER, ADAM_W.init(TRANSFORMER), TRANSFORMER, KEY)),
    "W7g": lambda: calls(transformer_decode, jnp.concatenate([TEXT[0], TEXT[1]])),
    "W8": lambda: steps(coupling_step, (COUPLINGS, ADAM.init(COUPLINGS), KEY)),
    "W8-score": lambda: calls(coupling_log_density, COUPLINGS, DATA),
    "W8-sample": lambda: calls(coupling_sample, KEY),
}


def milliseconds(run, items, seconds):
    start = time.perf_counter()
    run(1)
    once = time.perf_counter() - start
    # Long calls are measured by that one, short ones by seven blocks.
    if once > seconds / 2:
        return 1e3 * once / items
    k = max(1, round(seconds / 7 / once))
    blocks = []
    for _ in range(7):
        start = time.perf_counter()
        run(k)
        blocks.append((time.perf_counter() - start) / k)
    return 1e3 * statistics.median(blocks) / items


def main():
    ready = {}
    for line in sys.stdin:
        name, seconds = line.split()
        if name not in WORKLOADS:
            print("none", flush=True)
            continue
        if name not in ready:
            ready[name] = WORKLOADS[name]()
            for run, _ in ready[name]:
                run(1)  # compiles
        each = float(seconds) / len(ready[name])
        print(min(milliseconds(run, items, each) for run, items in ready[name]), flush=True)


main()
