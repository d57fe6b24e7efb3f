"""Many rows, drawn and scored on several processes or machines by Dask or by Ray.

Row i of a seeded draw depends on the seed and on i alone, and the score of a row on the row alone. So blocks of rows may
be computed anywhere, in any order and more than once: together they are, bit for bit, what ``model.sample`` and
``model.score_samples`` give in one process, also where a worker was killed and its blocks were computed again.

Engines promise no order. The column ``row``, counted from 0, carries it.

Each block is computed by one thread, since the engine runs as many blocks at once as it has cores. The package does not
need Dask or Ray until one of these functions is called.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Sequence, Union

import numpy as np

from . import _tables
from ._base import Estimator, _count, seed_of

if TYPE_CHECKING:
    import dask.dataframe
    import pandas
    import ray.data

#: Names of the columns that ``y`` is read from.
Names = Union[str, Sequence[str]]

#: The column of the scores.
SCORE = "log_likelihood"


def dask_sample(
    model: Estimator,
    n_samples: int,
    random_state: Any = None,
    *,
    y: Any = None,
    temperature: float = 1.0,
    block_rows: int = 100_000,
    row: str = "row",
) -> dask.dataframe.DataFrame:
    """Draws rows as a Dask DataFrame, lazily, one partition for each block.

    Parameters
    ----------
    model : Estimator
        A fitted model.
    n_samples : int
        Rows to draw.
    random_state : int, RandomState, Generator or None
        The same whole number gives the rows of ``model.sample(n_samples, random_state)``, with any ``block_rows``.
    y : scalar or array-like, optional
        The condition of all rows. Without it, each row has a condition of its own, with its frequency in training.
    temperature : float
        Scale of the randomness.
    block_rows : int
        Rows of a partition: a worker holds one for each of its threads.
    row : str
        Name of the column that counts the rows from 0. The index does, too.

    Examples
    --------
    >>> import quadrivium_models as qm
    >>> model = qm.GaussianMixture(random_state=0).fit(qm.worlds.sample("moons", 500, random_state=0))
    >>> drawn = qm.engines.dask_sample(model, 10_000, random_state=7, block_rows=4_000)
    >>> drawn.npartitions, list(drawn.columns)
    (3, ['row', 'x1', 'x2'])
    >>> bool((drawn.compute()[["x1", "x2"]] == model.sample(10_000, random_state=7)).all(axis=None))
    True

    ``drawn.to_parquet(folder, write_index=False)`` writes the blocks as they come.
    """
    try:
        import dask.dataframe as dd
        from dask.delayed import delayed
    except ImportError as error:
        raise ImportError("dask_sample needs Dask: pip install 'dask[dataframe]' distributed") from error
    draw = _Draw(model, seed_of(random_state), y, temperature, row)
    blocks = _blocks(n_samples, block_rows)
    # The model is one node of the graph, which every worker fetches once.
    shared, block = delayed(draw, pure=False), delayed(_draw_block, pure=False)
    frame: dask.dataframe.DataFrame = dd.from_delayed(
        [block(shared, first, last) for first, last in blocks],
        meta=draw.meta,
        divisions=(*(first for first, _ in blocks), blocks[-1][1] - 1),
        verify_meta=False,
    )
    return frame


def dask_score(model: Estimator, frame: dask.dataframe.DataFrame, *, y: Names | None = None) -> dask.dataframe.DataFrame:
    """Scores the rows of a Dask DataFrame, lazily: the frame with the column ``log_likelihood``, in nats.

    Parameters
    ----------
    model : Estimator
        A fitted model that has ``score_samples``.
    frame : dask.dataframe.DataFrame
        Has the columns that the model has learned, named x1, x2, … if it learned an array; others are kept as they are.
    y : str or list of str, optional
        The columns that hold the condition of each row.

    Examples
    --------
    >>> import dask.dataframe, pandas
    >>> import quadrivium_models as qm
    >>> frame = pandas.DataFrame(qm.worlds.sample("moons", 500, random_state=0), columns=["a", "b"])
    >>> model = qm.GaussianMixture(random_state=0).fit(frame)
    >>> scored = qm.engines.dask_score(model, dask.dataframe.from_pandas(frame, npartitions=3))
    >>> bool((scored["log_likelihood"].compute() == model.score_samples(frame)).all())
    True
    """
    try:
        from dask.delayed import delayed
    except ImportError as error:
        raise ImportError("dask_score needs Dask: pip install 'dask[dataframe]' distributed") from error
    score = _Score(model, y)
    score.check(list(frame.columns))
    rows: Any = frame
    meta = rows._meta.assign(**{SCORE: np.empty(0)})
    scored: dask.dataframe.DataFrame = rows.map_partitions(_score_block, delayed(score, pure=False), meta=meta)
    return scored


def ray_sample(
    model: Estimator,
    n_samples: int,
    random_state: Any = None,
    *,
    y: Any = None,
    temperature: float = 1.0,
    block_rows: int = 100_000,
    row: str = "row",
) -> ray.data.Dataset:
    """Draws rows as a dataset of Ray Data, lazily, one task for each block.

    The parameters are those of ``dask_sample``. Blocks come in any order: ``dataset.sort("row")`` brings them into theirs.

    Examples
    --------
    >>> import quadrivium_models as qm
    >>> model = qm.load("moons.safetensors")  # doctest: +SKIP
    >>> drawn = qm.engines.ray_sample(model, 1_000_000, random_state=7)  # doctest: +SKIP
    >>> drawn.write_parquet("drawn")  # doctest: +SKIP
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError("ray_sample needs Ray Data: pip install 'ray[data]'") from error
    draw = _Draw(model, seed_of(random_state), y, temperature, row)
    blocks = [{"first": first, "last": last} for first, last in _blocks(n_samples, block_rows)]
    ranges = ray.data.from_items(blocks, override_num_blocks=len(blocks))
    # What is referred to is fetched once by every machine.
    return ranges.map_batches(_drawn_by_ray, fn_args=(ray.put(draw),), batch_size=1, batch_format="pandas")


def ray_score(model: Estimator, dataset: ray.data.Dataset, *, y: Names | None = None) -> ray.data.Dataset:
    """Scores the rows of a dataset of Ray Data, lazily: the dataset with the column ``log_likelihood``, in nats.

    The parameters are those of ``dask_score``.

    Examples
    --------
    >>> import ray.data  # doctest: +SKIP
    >>> import quadrivium_models as qm
    >>> model = qm.load("moons.safetensors")  # doctest: +SKIP
    >>> qm.engines.ray_score(model, ray.data.read_parquet("drawn")).write_parquet("scored")  # doctest: +SKIP
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError("ray_score needs Ray Data: pip install 'ray[data]'") from error
    score = _Score(model, y)
    names = dataset.columns()
    if names is not None:
        score.check(names)
    return dataset.map_batches(_scored_by_ray, fn_args=(ray.put(score),), batch_size=None, batch_format="pandas")


def _blocks(n_samples: int, block_rows: int) -> list[tuple[int, int]]:
    rows, most = _count("n_samples", n_samples), _count("block_rows", block_rows)
    if rows is None or most is None:
        raise ValueError(f"n_samples = {n_samples!r}, block_rows = {block_rows!r}: expected whole numbers from 1")
    return [(first, min(first + most, rows)) for first in range(0, rows, most)]


class _Draw:
    """Draws one block, as a DataFrame."""

    #: Rows that are drawn to learn the dtypes of all.
    LOOK = 1_000

    def __init__(self, model: Estimator, seed: int, y: Any, temperature: float, row: str) -> None:
        self.model, self.names = _alone(model), _names(model)
        self.seed, self.y, self.temperature, self.row = seed, y, temperature, row
        given = _tables.condition_given(y, model._width, model._label)
        if given is not None and len(given) != 1:
            raise ValueError(f"y has {len(given)} rows: expected one condition, for all rows")
        if row in self.names:
            raise ValueError(f"row = {row!r}: the model has a column of that name")
        self.meta: pandas.DataFrame | None = None
        self.meta = self(0, self.LOOK).iloc[:0]

    def __call__(self, first: int, last: int) -> pandas.DataFrame:
        import pandas as pd

        drawn = self.model.sample(
            random_state=self.seed, y=self.y, rows=(first, last), temperature=self.temperature
        )
        index = pd.RangeIndex(first, last)
        frame = pd.DataFrame(drawn, columns=self.names).set_index(index)
        if self.meta is not None:
            frame = _as(frame, self.meta)
        frame.insert(0, self.row, np.arange(first, last))
        return frame


def _as(frame: pandas.DataFrame, meta: pandas.DataFrame) -> pandas.DataFrame:
    """Whole numbers in one block are whole in all or in none."""
    for name, dtype in frame.dtypes.items():
        if dtype != meta[name].dtype:
            cast = frame[name].astype(meta[name].dtype)
            if not ((cast == frame[name]) | frame[name].isna()).all():
                raise ValueError(f"column {name}: {dtype} in one block of rows, and {meta[name].dtype} in others")
            frame[name] = cast
    return frame


class _Score:
    """Scores the rows of one block."""

    def __init__(self, model: Estimator, y: Names | None) -> None:
        self.model, self.names, self.y = _alone(model), _names(model), y
        self.has_names = model._schema.names is not None
        if not hasattr(model, "score_samples"):
            raise AttributeError(f"{type(model).__name__}: {model._without('score_samples')}")

    def check(self, found: list[str]) -> None:
        y = [] if self.y is None else [self.y] if isinstance(self.y, str) else list(self.y)
        missing = [name for name in [*self.names, *y] if name not in found]
        if missing:
            raise ValueError(f"no column {', '.join(map(str, missing))}: there are {', '.join(map(str, found))}")
        if SCORE in found:
            raise ValueError(f"there is a column {SCORE} already")

    def __call__(self, frame: pandas.DataFrame) -> pandas.DataFrame:
        if frame.empty:
            return frame.assign(**{SCORE: np.empty(0)})
        x: Any = frame[self.names]
        if not self.has_names:
            x = x.to_numpy()
        y = None if self.y is None else frame[self.y].to_numpy()
        return frame.assign(**{SCORE: self.model.score_samples(x, y)})


def _alone(model: Estimator) -> Estimator:
    """The model with one thread and without a callback, which may not travel."""
    model._check_is_fitted()
    alone: Estimator = copy.copy(model)
    alone.n_jobs, alone.callback = 1, None
    return alone


def _names(model: Estimator) -> list[str]:
    model._check_is_fitted()
    return model._schema.names or [f"x{place + 1}" for place in range(model.n_features_in_)]


def _draw_block(draw: _Draw, first: int, last: int) -> pandas.DataFrame:
    return draw(first, last)


def _score_block(frame: pandas.DataFrame, score: _Score) -> pandas.DataFrame:
    return score(frame)


def _drawn_by_ray(ranges: pandas.DataFrame, draw: Any) -> pandas.DataFrame:
    import ray

    return _draw_block(ray.get(draw), int(ranges["first"].iloc[0]), int(ranges["last"].iloc[0]))


def _scored_by_ray(frame: pandas.DataFrame, score: Any) -> pandas.DataFrame:
    import ray

    return _score_block(frame, ray.get(score))
