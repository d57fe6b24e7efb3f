"""What all estimators have in common."""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
import types
from typing import TYPE_CHECKING, Any, Callable, TypeVar

import numpy as np

from . import _native, _tables
from ._tables import Floats, Label, Schema

if TYPE_CHECKING:
    from typing_extensions import Self

F = TypeVar("F", bound=Callable[..., Any])


class NotFittedError(ValueError, AttributeError):
    """The estimator has not learned anything yet."""


def _not_fitted(estimator: Estimator) -> Exception:
    name = type(estimator).__name__
    message = (
        f"This {name} instance is not fitted yet. Call 'fit' with appropriate arguments before using this estimator."
    )
    # The error that scikit-learn's users catch, if there are any.
    theirs = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", NotFittedError)
    return theirs(message)


def seed_of(random_state: Any) -> int:
    """A seed: a whole number itself, otherwise one drawn from numpy's generators."""
    if random_state is None:
        random_state = np.random.mtrand._rand
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**63, dtype=np.uint64))
    if isinstance(random_state, (int, np.integer)) and 0 <= random_state < 2**64:
        return int(random_state)
    raise ValueError(
        f"random_state = {random_state!r}: expected None, a whole number from 0, a RandomState or a Generator"
    )


def _count(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 1:
        return int(value)
    raise ValueError(f"{name} = {value!r}: expected None, or a whole number from 1")


def _jobs(value: Any) -> int | None:
    if value is None or isinstance(value, (int, np.integer)):
        return None if value is None else int(value)
    raise ValueError(f"n_jobs = {value!r}: expected None, or a whole number")


class _WithLikelihood:
    """A method that an estimator has only if its model has a likelihood."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    def __get__(self, estimator: Any, owner: Any = None) -> Any:
        if estimator is None:
            return self.method
        why = estimator._without(self.method.__name__)
        if why is not None:
            raise AttributeError(f"{type(estimator).__name__!r} object has no attribute {self.method.__name__!r}: {why}")
        return types.MethodType(self.method, estimator)


def _with_likelihood(method: F) -> F:
    return _WithLikelihood(method)  # type: ignore[return-value]


class Estimator:
    """A generative model.

    The size of the model and its training follow from the numbers of rows and columns, as in the program
    ``quadrivium``; parameters override any of it.

    Parameters
    ----------
    steps : int, optional
        Most steps of the training. By default by the kind of model and the number of rows. A GaussianMixture and a
        KernelDensity are fitted to all rows at once, without steps.
    batch : int, optional
        Rows of a step. By default by the number of rows.
    validation : float, optional
        Share of the rows that are held out, so that the model that was best on them is kept; 0 learns from all rows, for
        all steps. By default by the kind of model and the number of rows.
    units : "auto", optional
        Brings every column near to a normal one before the model sees it, by a map that is part of the likelihood: what
        is drawn has the ends, steps and repeated values of its column. Columns of text are modeled as labels, and NaN as
        a missing value. By default columns are numbers, standardized.
    config : dict, optional
        Fields of the model's config that differ from its recipe, by a path of names or as dicts within dicts:
        ``{"optimizer.lr": 1e-3, "network": {"hidden": [64, 64]}}``. ``config_`` shows them all.
    random_state : int, RandomState, Generator or None
        The same whole number gives the same model, bit for bit, with any number of threads.
    n_jobs : int, optional
        Threads of this process: all by default, -1 for all, -2 for all but one.
    callback : callable, optional
        Called as ``callback(step, loss)`` after each step. If it returns True, the training ends, and the model keeps
        what it has learned.

    Attributes
    ----------
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of str
        Their names, if X was a DataFrame.
    likelihood_kind_ : str
        What ``score_samples`` returns: "exact", "lower bound", "ODE estimate", "unnormalized" or "none".
    nfe_ : int
        Evaluations of networks per row drawn.
    n_parameters_ : int
        Trainable numbers.
    config_ : dict
        The whole config.
    report_ : dict
        What happened in training: "loss" of each step, its "parts" by name, pairs of steps and loss on held-out rows in
        "validation", and why it ended in "stop".
    columns_ : list of str
        What each column was taken for, with ``units="auto"``.
    """

    _kind: str = ""
    _model: Any
    _schema: Schema

    def __init__(
        self,
        steps: int | None = None,
        batch: int | None = None,
        validation: float | None = None,
        units: str | None = None,
        config: dict[str, Any] | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        callback: Callable[[int, float], Any] | None = None,
    ) -> None:
        self.steps = steps
        self.batch = batch
        self.validation = validation
        self.units = units
        self.config = config
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.callback = callback

    # Learning.

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns the distribution of the rows of X; with y, that of the rows given y.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : array-like, optional
            A condition: text, whole numbers and truth values are classes; numbers with fractions, or several columns,
            are a vector of numbers.

        Returns
        -------
        self

        Notes
        -----
        Ctrl-C ends the training and raises ``KeyboardInterrupt``; the estimator then has what it has learned so far.
        """
        if not self._kind:
            raise TypeError(f"{type(self).__name__} cannot be fitted: it is read from a file")
        if self.units not in (None, "auto"):
            raise ValueError(f"units = {self.units!r}: expected None or 'auto'")
        if self.config is not None and not isinstance(self.config, dict):
            raise ValueError(f"config = {self.config!r}: expected None or a dict")
        in_units = self.units == "auto"
        values, schema = _tables.rows_to_learn(X, in_units)
        condition = _tables.condition_to_learn(y, values.shape[0])
        names = schema.names or [f"x{place + 1}" for place in range(values.shape[1])]
        model, config, report, ended = _native.fit(
            self._kind,
            (names, values, [label and label.texts for label in schema.labels]),
            condition and (*condition[:2], condition.label and condition.label.texts, condition.is_class),
            {
                "units": in_units,
                "config": json.dumps(self.config or {}, default=_plain),
                "steps": _count("steps", self.steps),
                "batch": _count("batch", self.batch),
                "validation": None if self.validation is None else float(self.validation),
                "seed": seed_of(self.random_state),
                "jobs": _jobs(self.n_jobs),
            },
            self.callback,
        )
        self._keep(model, schema, condition and condition.label)
        self.config_: dict[str, Any] = json.loads(config)
        self.report_: dict[str, Any] = report
        if ended is not None:
            raise ended
        return self

    def _keep(self, model: Any, schema: Schema, label: Label | None) -> None:
        for name in ("feature_names_in_", "config_", "report_", "columns_"):
            self.__dict__.pop(name, None)
        self._model, self._schema, self._label = model, schema, label
        columns, _ = model.columns()
        self._width = sum(column.get("role", "modeled") != "modeled" for column in json.loads(columns))
        self.n_features_in_ = len(schema.dtypes)
        self.likelihood_kind_: str = model.likelihood
        self.nfe_: int = model.nfe
        self.n_parameters_: int = model.parameters
        if schema.names is not None:
            self.feature_names_in_ = np.array(schema.names, dtype=object)
        described = model.described()
        if described:
            names = schema.names or [f"x{place + 1}" for place in range(len(described))]
            self.columns_ = [
                f"{name}: {what if label is None else 'labels: ' + ', '.join(map(repr, label.values))}"
                for name, what, label in zip(names, described, schema.labels)
            ]

    # Drawing and scoring.

    def sample(
        self,
        n_samples: int = 1,
        random_state: Any = None,
        y: Any = None,
        rows: tuple[int, int] | None = None,
        temperature: float = 1.0,
    ) -> Any:
        """Draws rows, in the form of X: a DataFrame if X was one, otherwise an array of shape (n_samples, n_features).

        Parameters
        ----------
        n_samples : int
            Rows to draw. The first k of n rows are the k rows of ``sample(k)`` with the same random_state.
        random_state : int, RandomState, Generator or None
        y : scalar or array-like, optional
            The condition, one for all rows or one for each. Without it, each row has a condition of its own, with its
            frequency in training.
        rows : (int, int), optional
            Instead of n_samples: draws only rows ``rows[0]`` to ``rows[1] - 1`` of those that a whole number as random_state draws:
            machines that share the rows draw, one after the other, the same bits as one alone.
        temperature : float
            Scale of the randomness: smaller values give less varied rows.
        """
        self._check_is_fitted()
        if rows is None:
            count = _count("n_samples", n_samples)
            first, last = 0, 1 if count is None else count
        else:
            if not isinstance(random_state, (int, np.integer)):
                raise ValueError("rows: needs a whole number as random_state, so that all draw from the same rows")
            first, last = (int(row) for row in rows)
            if not 0 <= first <= last:
                raise ValueError(f"rows = {rows!r}: expected a range of rows, counted from 0")
        given = _tables.condition_given(y, self._width, self._label)
        if rows is None and given is not None and len(given) not in (1, last):
            raise ValueError(f"y has {len(given)} rows: expected 1, or one for each of {last} samples")
        seed, jobs = seed_of(random_state), _jobs(self.n_jobs)
        x = self._model.sample((first, last), seed, float(temperature), given, jobs)
        return _tables.rows_drawn(x, self._schema, self._in_units())

    @_with_likelihood
    def score_samples(self, X: Any, y: Any = None) -> Floats:
        """The log-likelihood of each row, in nats, as a density in the units of X; ``likelihood_kind_`` says whether it is
        exact, a bound or an estimate.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : scalar or array-like, optional
            The condition, one for all rows or one for each. Without it, a model of classes scores p(x).
        """
        self._check_is_fitted()
        x = _tables.rows_to_score(X, self._schema, type(self).__name__, self._in_units())
        given = _tables.condition_given(y, self._width, self._label)
        scores: Floats = self._model.score(x, given, _jobs(self.n_jobs))
        return scores

    @_with_likelihood
    def score(self, X: Any, y: Any = None) -> float:
        """The mean of ``score_samples``."""
        return float(np.mean(self.score_samples(X, y)))

    def _without(self, method: str) -> str | None:
        """Why it lacks a method."""
        kind = self.__dict__.get("likelihood_kind_", "none" if self._kind in ("gan", "score") else "some")
        if kind == "none":
            return "the model has no likelihood; quadrivium_models.metrics compares what it draws"
        if kind == "unnormalized" and self._width > 0:
            return "the likelihood under each condition has an unknown constant of its own"
        if kind == "unnormalized" and method == "score":
            return "the likelihood has an unknown constant, so that only differences of score_samples say something"
        return None

    # Files.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model, in safetensors format, to a file that the program ``quadrivium`` reads, too."""
        self._check_is_fitted()
        self._model.save(os.fspath(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a model of this kind that ``save`` or the program ``quadrivium`` wrote."""
        from ._models import load

        found = load(path)
        if not isinstance(found, cls):
            raise ValueError(f"{os.fspath(path)}: a {type(found).__name__}: expected a {cls.__name__}")
        return found

    # What scikit-learn asks of an estimator, without needing it.

    @classmethod
    def _parameters(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> Self:
        """Sets parameters by name."""
        known = self._parameters()
        for name, value in params.items():
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self!r}. Valid parameters are: {known!r}."
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        params = self.get_params().items()
        said = [f"{name}={value!r}" for name, value in params if value is not defaults[name].default]
        return f"{type(self).__name__}({', '.join(said)})"

    def __sklearn_is_fitted__(self) -> bool:
        return "_model" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="density_estimator",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(allow_nan=self.units == "auto"),
        )

    def _check_is_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise _not_fitted(self)

    def _in_units(self) -> bool:
        in_units: bool = self._model.kind()[1]
        return in_units


def _plain(value: Any) -> Any:
    """Numbers of numpy, as those of Python."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise ValueError(f"config: {value!r} cannot be written as JSON")
