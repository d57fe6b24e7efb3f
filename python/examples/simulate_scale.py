"""What 10 and 1,000 machines would do, by simulation with the rates of this one.

    python simulate_scale.py [--cores 16] [--gigabits 10] [--latency-ms 0.2] [--into docs/SCALE.md]

Seconds of a row and of a training step are measured here, with one thread. The rest is assumed and printed: cores of a
machine, its link, the scheduler's time for a task, and how often a machine is lost.
"""

import argparse
import heapq
import importlib.metadata
import math
import pickle
import platform
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import quadrivium_models as qm

ROWS, BLOCK = 10_000_000_000, 100_000
MACHINES = (1, 10, 100, 1_000)


def fastest(work, times=7):
    """Seconds of the processor: other work on this machine does not count."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def rates():
    """Seconds of a row and bytes of a model, for some that are quick and some that are slow."""
    train = qm.worlds.sample("moons", 2_000, random_state=0)
    autoregressive = qm.Autoregressive(random_state=0, n_jobs=1).fit(train)
    diffusion = qm.Diffusion(random_state=0, n_jobs=1).fit(train)
    rows = autoregressive.sample(4_000, random_state=0)
    return [
        (name, fastest(lambda: work(model)) / 4_000, len(pickle.dumps(model)))
        for name, model, work in (
            ("autoregressive, sample", autoregressive, lambda model: model.sample(4_000, random_state=0)),
            ("diffusion, sample", diffusion, lambda model: model.sample(4_000, random_state=0)),
            ("diffusion, score", diffusion, lambda model: model.score_samples(rows)),
        )
    ]


def farm(machines, seconds_per_row, model_bytes, options, seed=0):
    """Seconds until all blocks are there, and how many were computed twice.

    One scheduler hands out a block whenever a core is free, and takes a moment for each. A machine that is lost takes the
    blocks of its cores with it; after a timeout they are handed out again, and another machine has taken its place.
    """
    rng = np.random.default_rng(seed)
    link = options.gigabits * 1e9 / 8
    # The scheduler sends the model to all; a block goes to storage over the link that the cores share.
    start = machines * model_bytes / link
    write = BLOCK * options.row_bytes * options.cores / link
    mean = options.mean_days * 86_400
    lost_at = start + rng.exponential(mean, machines)
    free = [(start, machine) for machine in range(machines) for _ in range(options.cores)]
    heapq.heapify(free)
    waiting, again, scheduler, end = math.ceil(ROWS / BLOCK), 0, 0.0, 0.0
    while waiting:
        now, machine = heapq.heappop(free)
        scheduler = max(now, scheduler) + options.task_ms / 1e3
        begun = scheduler + options.latency_ms / 1e3
        done = begun + BLOCK * seconds_per_row * rng.lognormal(0.0, 0.1) + write
        if begun <= lost_at[machine] < done:
            again += 1
            heapq.heappush(free, (lost_at[machine] + options.timeout, machine))
        else:
            if lost_at[machine] < begun:
                lost_at[machine] = begun + rng.exponential(mean)
            waiting -= 1
            end = max(end, done)
            heapq.heappush(free, (done, machine))
    return end, again


def farms(options):
    yield "| work | µs per row | kB of model | " + " | ".join(f"machines: {m:,}" for m in MACHINES) + " |"
    yield "| --- " * (3 + len(MACHINES)) + "|"
    for name, seconds, size in rates():
        cells = []
        for machines in MACHINES:
            took, again = farm(machines, seconds, size, options)
            ideal = ROWS * seconds / (machines * options.cores)
            cells.append(f"{spoken(took)}, {ideal / took:.0%}" + (f", {again} again" if again else ""))
        yield f"| {name} | {seconds * 1e6:.1f} | {size / 1e3:.0f} | {' | '.join(cells)} |"


def spoken(seconds):
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def step(hidden, batch, columns=64, steps=40):
    """Parameters of a diffusion, and seconds of a step with one thread."""
    rows = np.random.default_rng(0).normal(size=(4_096, columns))
    config = {"network": {"hidden": hidden}}
    spent = []
    for _ in range(3):
        ticks = []
        model = qm.Diffusion(
            random_state=0,
            n_jobs=1,
            steps=steps,
            batch=batch,
            validation=0.0,
            config=config,
            callback=lambda step, loss: ticks.append(time.process_time()),
        ).fit(rows)
        spent.append((ticks[-1] - ticks[0]) / (len(ticks) - 1))
    return model.n_parameters_, min(spent)


def exchanged(parameters, shards, ranks, options):
    """Seconds of the exchange of one step: slices of each shard's gradient go to their owners, sums come back."""
    link = options.gigabits * 1e9 / 8
    others = (ranks - 1) / ranks
    own_shards = math.ceil(shards / ranks)
    return others * (own_shards + 1) * parameters * 4 / link + 2 * (ranks > 1) * options.latency_ms / 1e3


def trainings(options):
    ranks = (1, 2, 4, 8, 16)
    yield "| hidden | parameters | rows of a step | ms of a step | " + " | ".join(f"{r} ranks" for r in ranks[1:]) + " |"
    yield "| --- " * (4 + len(ranks) - 1) + "|"
    for hidden, batch in (([64, 64], 256), ([256, 256], 1_024), ([512, 512], 4_096)):
        parameters, seconds = step(hidden, batch)
        cells = []
        for many in ranks[1:]:
            alone = math.ceil(options.shards / many) / options.shards * seconds
            cells.append(f"{seconds / (alone + exchanged(parameters, options.shards, many, options)):.1f}×")
        yield f"| {hidden} | {parameters:,} | {batch:,} | {seconds * 1e3:.1f} | {' | '.join(cells)} |"


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())


def report(options):
    version = importlib.metadata.version("quadrivium-models")
    yield f"`{shlex.join(['python', 'python/examples/simulate_scale.py', *sys.argv[1:]])}` · quadrivium-models {version},"
    yield f"Python {platform.python_version()} · {processor()}, one thread\n"
    yield f"{ROWS:,} rows in blocks of {BLOCK:,}. Assumed: {options.cores} cores to a machine, each as fast as one here;"
    yield f"{options.gigabits:g} Gbit/s and {options.latency_ms:g} ms; {options.task_ms:g} ms of the scheduler for a task;"
    yield f"{options.row_bytes} bytes of Parquet to a row; a machine is lost every {options.mean_days:g} days of its work and noticed"
    yield f"after {options.timeout:g} s. Each cell: time, share of the cores' time that is computing, blocks computed again.\n"
    yield from farms(options)
    yield f"\nA training of a diffusion of 64 columns, one core to a rank, {options.shards} shards to a step, over the same link: how much"
    yield "faster a step is than on one rank.\n"
    yield from trainings(options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cores", type=int, default=16, help="of a machine")
    parser.add_argument("--gigabits", type=float, default=10.0, help="per second, of a machine's link")
    parser.add_argument("--latency-ms", type=float, default=0.2)
    parser.add_argument("--task-ms", type=float, default=1.0, help="of the scheduler, for a task")
    parser.add_argument("--row-bytes", type=int, default=24, help="in Parquet")
    parser.add_argument("--mean-days", type=float, default=30.0, help="between two losses of a machine")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds until a loss is noticed")
    parser.add_argument("--shards", type=int, default=16, help="of a step")
    parser.add_argument("--into", type=Path, help="the page to write, between its marks, instead of printing")
    options = parser.parse_args()
    text = "\n".join(report(options))
    if options.into is None:
        print(text)
        return
    begin, end = "<!-- simulation: begin -->\n", "\n<!-- simulation: end -->"
    page = options.into.read_text(encoding="utf-8")
    options.into.write_text(page.split(begin)[0] + begin + text + end + page.split(end)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
