"""Blocks of rows on Dask and Ray, on this machine: the same bits as in one process, also where a worker is killed."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import quadrivium_models as qm
from conftest import few
from quadrivium_models import engines

pd = pytest.importorskip("pandas")
ROWS, BLOCK = 5_000, 700


class Mortal(qm.Flow):
    """Notes who draws and scores which rows. The first to draw block 3 and the first to score its rows are killed."""

    def note(self, what, first):
        with open(os.path.join(self.folder, "begun"), "a") as file:
            file.write(f"{what} {first} {os.getpid()}\n")
        if first != 3 * BLOCK:
            return
        try:
            os.close(os.open(os.path.join(self.folder, what), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def sample(self, *args, rows=None, **options):
        drawn = super().sample(*args, rows=rows, **options)
        self.note("draw", rows[0])
        return drawn

    def score_samples(self, X, y=None):
        scores = super().score_samples(X, y)
        # An engine may score several blocks at once.
        for place, first in enumerate(self.firsts):
            if (X == first).all(axis=1).any():
                self.note("score", place * BLOCK)
        return scores


@pytest.fixture(scope="module")
def flow():
    return few("flow").fit(qm.worlds.sample("moons", 120, random_state=0))


@pytest.fixture
def mortal(flow, tmp_path):
    model = Mortal(n_jobs=1, callback=lambda step, loss: None)
    model.__dict__.update({name: value for name, value in vars(flow).items() if name != "callback"})
    model.folder, model.firsts = str(tmp_path), flow.sample(ROWS, random_state=7)[::BLOCK]
    return model


def check_deaths(mortal):
    """One worker died drawing and one scoring, each in its block, which another process did again."""
    begun = [line.split() for line in (Path(mortal.folder) / "begun").read_text().splitlines()]
    for what in ("draw", "score"):
        pids = [int(pid) for done, first, pid in begun if done == what and int(first) == 3 * BLOCK]
        assert len(pids) >= 2 and pids[1] != pids[0], begun
        last = [(done, int(first)) for done, first, pid in begun if int(pid) == pids[0]][-1]
        assert last == (what, 3 * BLOCK), "the worker went on"
        assert {int(first) for done, first, _ in begun if done == what} >= set(range(0, ROWS, BLOCK))


def check_scored(scored, flow):
    """Drawn and scored rows are, in the order of their numbers, those of one process."""
    assert list(scored.columns) == ["row", "x1", "x2", "log_likelihood"]
    scored = scored.sort_values("row")
    alone = flow.sample(ROWS, random_state=7)
    assert np.array_equal(scored["row"], np.arange(ROWS))
    assert np.array_equal(scored[["x1", "x2"]].to_numpy(), alone)
    assert np.array_equal(scored["log_likelihood"], flow.score_samples(alone))


@pytest.fixture(scope="module")
def dask():
    return pytest.importorskip("dask.dataframe")


@pytest.fixture(scope="module")
def dask_cluster(dask):
    distributed = pytest.importorskip("distributed")
    # Workers know nothing of this module: what it defines travels to them by value.
    pytest.importorskip("cloudpickle").register_pickle_by_value(sys.modules[__name__])
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster, distributed.Client(cluster) as client:
        yield client


def test_dask_gives_the_same_bits_though_workers_are_killed(dask, dask_cluster, flow, mortal, tmp_path):
    drawn = engines.dask_sample(mortal, ROWS, random_state=7, block_rows=BLOCK)
    drawn.to_parquet(tmp_path / "drawn", write_index=False)
    read = dask.read_parquet(tmp_path / "drawn", split_row_groups=True)
    engines.dask_score(mortal, read).to_parquet(tmp_path / "scored", write_index=False)
    check_scored(pd.read_parquet(tmp_path / "scored"), flow)
    check_deaths(mortal)


def test_blocks_of_any_size_are_the_same_rows(dask, flow):
    for block in (1, 7, 20, 100):
        drawn = engines.dask_sample(flow, 20, random_state=3, block_rows=block).compute()
        assert np.array_equal(drawn[["x1", "x2"]], flow.sample(20, random_state=3))
        assert list(drawn["row"]) == list(drawn.index) == list(range(20))
    assert np.array_equal(
        engines.dask_sample(flow, 20, np.random.default_rng(5), block_rows=7).compute()[["x1", "x2"]],
        flow.sample(20, np.random.default_rng(5)),
    )


def test_frames_keep_their_dtypes_in_blocks(dask, frame, tmp_path):
    model = few("gaussian_mixture", units="auto").fit(frame)
    alone = model.sample(300, random_state=1)
    drawn = engines.dask_sample(model, 300, random_state=1, block_rows=70, row="no")
    assert (drawn.dtypes == drawn.compute().dtypes).all()
    drawn.to_parquet(tmp_path / "drawn", write_index=False)
    read = pd.read_parquet(tmp_path / "drawn").sort_values("no")
    for name in frame.columns:
        mine, same = alone[name], read[name].set_axis(alone.index)
        assert ((mine == same) | (mine.isna() & same.isna())).all(), name
        assert mine.dtype.kind == same.dtype.kind
    scored = engines.dask_score(model, dask.from_pandas(frame, npartitions=3)).compute()
    assert np.array_equal(scored["log_likelihood"], model.score_samples(frame))


def test_conditions_are_columns(dask, frame):
    x, y = frame[["height", "children"]], frame["city"]
    model = few("gaussian_mixture", units="auto").fit(x, y)
    drawn = engines.dask_sample(model, 50, random_state=1, y="Chur", block_rows=20).compute()
    assert np.array_equal(drawn[["height", "children"]], model.sample(50, random_state=1, y="Chur"))
    with pytest.raises(ValueError, match="y has 50 rows: expected one condition, for all rows"):
        engines.dask_sample(model, 50, random_state=1, y=["Chur"] * 50)
    scored = engines.dask_score(model, dask.from_pandas(frame, npartitions=3), y="city").compute()
    assert np.array_equal(scored["log_likelihood"], model.score_samples(x, y))
    assert list(scored.columns) == [*frame.columns, "log_likelihood"]


def test_partitions_may_be_empty(dask, flow):
    frame = pd.DataFrame(qm.worlds.sample("moons", 40, random_state=1), columns=["x1", "x2"])
    few_rows = dask.from_pandas(frame.assign(n=range(40)), npartitions=4)
    few_rows = few_rows[few_rows["n"] < 12]
    scored = engines.dask_score(flow, few_rows).compute()
    assert np.array_equal(scored["log_likelihood"], flow.score_samples(frame.to_numpy()[:12]))


def test_mistakes_are_told_before_the_work(dask, flow):
    frame = dask.from_pandas(pd.DataFrame({"x1": [0.0], "b": [0.0]}), npartitions=1)
    with pytest.raises(ValueError, match="no column x2: there are x1, b"):
        engines.dask_score(flow, frame)
    with pytest.raises(ValueError, match="no column y"):
        engines.dask_score(flow, frame.rename(columns={"b": "x2"}), y="y")
    with pytest.raises(ValueError, match="a column log_likelihood already"):
        engines.dask_score(flow, frame.assign(x2=1.0, log_likelihood=1.0))
    with pytest.raises(AttributeError, match="the model has no likelihood"):
        engines.dask_score(few("gan").fit(qm.worlds.sample("moons", 60)), frame)
    with pytest.raises(ValueError, match="row = 'x1': the model has a column of that name"):
        engines.dask_sample(flow, 10, row="x1")
    for wrong in ({"n_samples": 0}, {"n_samples": 10, "block_rows": 0}):
        with pytest.raises(ValueError, match="whole number from 1"):
            engines.dask_sample(flow, **wrong)
    with pytest.raises(ValueError, match="not fitted"):
        engines.dask_sample(qm.VAE(), 10)


@pytest.mark.parametrize("name", ["dask_sample", "dask_score", "ray_sample", "ray_score"])
def test_a_missing_engine_is_named(monkeypatch, flow, name):
    engine = name.split("_")[0]
    for module in (engine, f"{engine}.data", f"{engine}.dataframe", f"{engine}.delayed"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{name} needs .*: pip install '{engine}\["):
        getattr(engines, name)(flow, None)


@pytest.fixture
def ray():
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=200 << 20,
        log_to_driver=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


def test_ray_gives_the_same_bits_though_workers_are_killed(ray, flow, mortal, tmp_path):
    engines.ray_sample(mortal, ROWS, random_state=7, block_rows=BLOCK).write_parquet(str(tmp_path / "drawn"))
    read = ray.data.read_parquet(str(tmp_path / "drawn"))
    engines.ray_score(mortal, read).write_parquet(str(tmp_path / "scored"))
    check_scored(pd.read_parquet(tmp_path / "scored"), flow)
    check_deaths(mortal)
