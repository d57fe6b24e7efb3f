"""Threads, forks, Ctrl-C and callbacks."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import quadrivium_models as qm
from conftest import few


#: What is started in the background ignores Ctrl-C, and so would the tests.
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def run(code, seconds=60):
    command = [sys.executable, "-c", HEED + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_after_use_has_threads_of_its_own(X):
    model = few("flow").set_params(n_jobs=2).fit(X)
    here = model.sample(2_000, random_state=1)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        there = [pool.apply_async(model.sample, (2_000, 1)) for _ in range(2)]
        assert all(np.array_equal(drawn.get(timeout=30), here) for drawn in there)
        fitted = pool.apply_async(few("vae").fit, (X,)).get(timeout=60)
    assert np.array_equal(fitted.sample(5, random_state=0), few("vae").fit(X).sample(5, random_state=0))
    # And the parent goes on.
    assert np.array_equal(model.sample(2_000, random_state=1), here)


def test_the_interpreter_is_free_while_training(X):
    ticks = []
    done = threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.01)

    thread = threading.Thread(target=tick)
    thread.start()
    before = len(ticks)
    few("flow").set_params(steps=2_000).fit(X)
    during = len(ticks) - before
    done.set()
    thread.join()
    # Held by the training, the interpreter would have run none of them.
    assert during > 5


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("name", ["Flow", "GAN", "LatentDiffusion"])
def test_ctrl_c_keeps_the_model(name):
    code = f"""
        import os, signal, threading, time
        import quadrivium_models as qm
        X = qm.worlds.sample("moons", 500, random_state=0)
        model = qm.{name}(steps=10_000_000, validation=0.0, random_state=0, n_jobs=1)
        sent = []
        def press():
            time.sleep(1.0)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=press).start()
        try:
            model.fit(X)
            print("not interrupted")
        except KeyboardInterrupt:
            late = time.monotonic() - sent[0]
            # 50 ms and a step where nothing else runs; a test has to hold where much does.
            print("late" if late > 10.0 else "in time", model.report_["stop"], model.sample(3, random_state=0).shape)
    """
    done = run(code)
    assert done.stdout.strip() == "in time interrupted (3, 2)", done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_ctrl_c_ends_sampling():
    code = """
        import os, signal, threading, time
        import quadrivium_models as qm
        X = qm.worlds.sample("moons", 500, random_state=0)
        model = qm.Diffusion(steps=2, random_state=0).fit(X)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            model.sample(100_000_000)
        except KeyboardInterrupt:
            print("interrupted", model.sample(3).shape)
    """
    done = run(code)
    assert done.stdout.strip() == "interrupted (3, 2)", done.stdout + done.stderr


def test_a_callback_ends_the_training(kind, X):
    seen = []

    def callback(step, loss):
        seen.append((step, loss))
        return len(seen) == 2

    model = few(kind, callback=callback).fit(X)
    assert [step for step, _ in seen] == list(range(1, len(seen) + 1)) and len(seen) <= 2
    assert np.isfinite([loss for _, loss in seen]).all()
    if len(seen) == 2:
        assert model.report_["stop"] in ("interrupted", "completed")
    assert model.sample(2).shape == (2, 2)


def test_a_callback_is_called_in_the_callers_thread(X):
    threads = set()
    few("vae", callback=lambda step, loss: threads.add(threading.current_thread())).fit(X)
    assert threads == {threading.current_thread()}


def test_what_a_callback_raises_is_raised(X):
    def callback(step, loss):
        raise KeyError("no")

    model = few("vae", callback=callback)
    with pytest.raises(KeyError, match="no"):
        model.fit(X)
    assert len(model.report_["loss"]) == 1


def test_a_callback_changes_no_bit(X):
    a = few("vae", callback=lambda step, loss: None).fit(X)
    assert np.array_equal(a.sample(5, random_state=0), few("vae").fit(X).sample(5, random_state=0))


def test_several_threads_at_once(X):
    expected = few("flow").fit(X).sample(50, random_state=0)
    found = [None] * 4

    def work(place):
        found[place] = few("flow").set_params(n_jobs=1 + place % 2).fit(X).sample(50, random_state=0)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert all(np.array_equal(drawn, expected) for drawn in found)


def test_nothing_is_printed():
    code = """
        import quadrivium_models as qm
        for kind in qm.KINDS.values():
            kind(steps=2, random_state=0).fit(qm.worlds.sample("moons", 60)).sample(3)
    """
    done = run(code)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_signals_keep_their_handlers(X):
    before = signal.getsignal(signal.SIGINT)
    few("vae").fit(X)
    assert signal.getsignal(signal.SIGINT) is before
