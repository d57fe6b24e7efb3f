"""What users call rows, as columns of numbers, and back."""

from __future__ import annotations

import numbers
import warnings
from typing import Any, NamedTuple, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: A column with more different texts than this holds no labels.
MOST_LABELS = 64


class Label(NamedTuple):
    """The texts that stand for the values of a column of labels, and these values."""

    texts: list[str]
    values: list[Any]


class Schema(NamedTuple):
    """The columns of a table: names, dtypes and, for columns of labels, these."""

    names: list[str] | None
    dtypes: list[Any]
    labels: list[Label | None]
    is_frame: bool


def is_frame(x: Any) -> bool:
    """Whether x is a DataFrame of pandas."""
    return hasattr(x, "columns") and hasattr(x, "iloc") and hasattr(x, "dtypes")


def names_of(x: Any) -> list[str] | None:
    """The names of a DataFrame's columns, if all are text."""
    if not hasattr(x, "columns") or not hasattr(x, "__array__"):
        return None
    names = list(x.columns)
    texts = [isinstance(name, str) for name in names]
    if all(texts) and names:
        return names
    if any(texts):
        kinds = sorted({type(name).__name__ for name in names})
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{kinds} as feature name / column name types. If you want feature names to be stored and validated, "
            "you must convert them all to strings, by using X.columns = X.columns.astype(str) for example."
        )
    return None


def _refuse_sparse(x: Any) -> None:
    if hasattr(x, "tocsr") and hasattr(x, "toarray"):
        raise TypeError("Sparse data was passed for X, but dense data is required. Use '.toarray()' to convert it.")


def _check_table(x: NDArray[Any], least: int) -> None:
    if x.ndim == 0:
        raise ValueError(f"Expected 2D array, got scalar array instead:\narray={x}.")
    if x.ndim == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array instead:\narray={x}.\nReshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a "
            "single sample."
        )
    if x.ndim > 2:
        raise ValueError(f"Found array with dim {x.ndim}: expected 2.")
    if x.shape[0] < least:
        raise ValueError(
            f"Found array with {x.shape[0]} sample(s) (shape={x.shape}) while a minimum of {least} is required."
        )
    if x.shape[1] < 1:
        raise ValueError(f"Found array with 0 feature(s) (shape={x.shape}) while a minimum of 1 is required.")


def _as_floats(x: Any, what: str) -> Floats:
    array = np.asarray(x)
    if np.iscomplexobj(array):
        raise ValueError(f"Complex data not supported\n{array}\n")
    if array.dtype.kind in "mM":
        raise ValueError(f"{what} holds dates or times: count the days or seconds from one of them")
    return np.ascontiguousarray(array, dtype=np.float64)


def _refuse_gaps(x: Floats, gaps: bool) -> None:
    """Refuses infinities and, where no column may have gaps, NaN."""
    if not np.isfinite(x).all():
        if np.isnan(x).any() and not gaps:
            raise ValueError("Input X contains NaN: fill it in, leave the rows out, or model it with units='auto'.")
        if np.isinf(x).any():
            raise ValueError("Input X contains infinity or a value too large for dtype('float64').")


def rows_to_learn(x: Any, in_units: bool) -> tuple[Floats, Schema]:
    """The values of a table, NaN where one is missing, and its columns. Labels are their places."""
    _refuse_sparse(x)
    names = names_of(x)
    if is_frame(x):
        _check_table(np.empty(x.shape), 2)
        columns, labels = [], []
        for place, dtype in enumerate(x.dtypes):
            values, label = _learned(x.iloc[:, place], dtype, str(x.columns[place]), in_units)
            columns.append(values)
            labels.append(label)
        floats = np.ascontiguousarray(np.column_stack(columns), dtype=np.float64)
        schema = Schema(names, list(x.dtypes), labels, True)
    else:
        array = np.asarray(x)
        _check_table(array, 2)
        floats = _as_floats(array, "X")
        schema = Schema(names, [array.dtype] * floats.shape[1], [None] * floats.shape[1], False)
    _refuse_gaps(floats, in_units)
    return floats, schema


def _is_text(dtype: Any, column: Any) -> bool:
    if hasattr(dtype, "categories"):
        return True
    if getattr(dtype, "kind", "O") not in "OSUT":
        return False
    # A column of objects may hold nothing but numbers.
    return any(not isinstance(value, numbers.Number) for value in column if value is not None)


def _learned(column: Any, dtype: Any, name: str, in_units: bool) -> tuple[Floats, Label | None]:
    kind = getattr(dtype, "kind", "O")
    is_label = _is_text(dtype, column) or (kind == "b" and in_units)
    if not is_label:
        if kind in "mM":
            raise ValueError(f"column {name} holds dates or times: count the days or seconds from one of them")
        if kind == "c":
            raise ValueError("Complex data not supported")
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan)), None
    if not in_units:
        raise ValueError(f"column {name} holds text, and no numbers: units='auto' models it, as labels")
    missing = np.asarray(column.isna())
    found = {str(value): value for value, gap in zip(column, missing) if not gap}
    if len(found) > MOST_LABELS:
        raise ValueError(
            f"column {name} holds {len(found)} different texts: expected at most {MOST_LABELS} labels; leave it out"
        )
    if "" in found:
        raise ValueError(f"column {name} holds an empty text: expected None for a missing value")
    texts = sorted(found)
    label = Label(texts, [found[text] for text in texts])
    if missing.any():
        # A missing value is a label, too, the one without a text.
        label = Label(["", *label.texts], [None, *label.values])
    return _places(column, missing, label, name), label


def _places(column: Any, missing: NDArray[Any], label: Label, name: str) -> Floats:
    places = {text: place for place, text in enumerate(label.texts)}
    try:
        found = [places["" if gap else str(value)] for value, gap in zip(column, missing)]
    except KeyError as error:
        known = ", ".join(text or "(missing)" for text in label.texts)
        raise ValueError(f"column {name}: {error.args[0]!r} is no label that the model knows: {known}") from None
    return np.array(found, dtype=np.float64)


def rows_to_score(x: Any, schema: Schema, estimator: str, gaps: bool) -> Floats:
    """The values of a table that has the columns of the one that was learned."""
    _refuse_sparse(x)
    _compare_names(names_of(x), schema.names, estimator)
    dim = len(schema.dtypes)
    has_labels = any(label is not None for label in schema.labels)
    if is_frame(x) or has_labels:
        if not is_frame(x):
            raise TypeError("X has to be a DataFrame: the model has learned columns of labels")
        _check_table(np.empty(x.shape), 1)
        if x.shape[1] != dim:
            raise ValueError(_count(x.shape[1], dim, estimator))
        columns = []
        for place, label in enumerate(schema.labels):
            column, name = x.iloc[:, place], str(x.columns[place])
            if label is None:
                columns.append(_learned(column, x.dtypes.iloc[place], name, False)[0])
            else:
                columns.append(_places(column, np.asarray(column.isna()), label, name))
        floats = np.ascontiguousarray(np.column_stack(columns), dtype=np.float64)
    else:
        array = np.asarray(x)
        _check_table(array, 1)
        floats = _as_floats(array, "X")
        if floats.shape[1] != dim:
            raise ValueError(_count(floats.shape[1], dim, estimator))
    _refuse_gaps(floats, gaps)
    return floats


def _count(found: int, expected: int, estimator: str) -> str:
    return f"X has {found} features, but {estimator} is expecting {expected} features as input."


def _compare_names(found: list[str] | None, known: list[str] | None, estimator: str) -> None:
    """What scikit-learn says of names that differ."""
    if found is None and known is None:
        return
    if known is None:
        warnings.warn(f"X has feature names, but {estimator} was fitted without feature names", stacklevel=4)
        return
    if found is None:
        warnings.warn(
            f"X does not have valid feature names, but {estimator} was fitted with feature names", stacklevel=4
        )
        return
    if found == known:
        return
    message = "The feature names should match those that were passed during fit.\n"
    unseen, missing = sorted(set(found) - set(known)), sorted(set(known) - set(found))

    def listed(names: Sequence[str]) -> str:
        more = "- ...\n" if len(names) > 5 else ""
        return "".join(f"- {name}\n" for name in names[:5]) + more

    if unseen:
        message += f"Feature names unseen at fit time:\n{listed(unseen)}"
    if missing:
        message += f"Feature names seen at fit time, yet now missing:\n{listed(missing)}"
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    raise ValueError(message)


def rows_drawn(x: Floats, schema: Schema, in_units: bool) -> Any:
    """Rows in the form of the table that was learned."""
    if not schema.is_frame or (schema.names is None and all(label is None for label in schema.labels)):
        return x
    try:
        import pandas as pd
    except ImportError:
        return x
    names = schema.names or [f"x{place + 1}" for place in range(x.shape[1])]
    columns = [
        _drawn(x[:, place], dtype, label, in_units, pd)
        for place, (dtype, label) in enumerate(zip(schema.dtypes, schema.labels))
    ]
    return pd.DataFrame(dict(zip(names, columns)), columns=names)


def _drawn(x: Floats, dtype: Any, label: Label | None, in_units: bool, pd: Any) -> Any:
    if label is not None:
        values = [label.values[int(place)] for place in x]
        try:
            return pd.Series(values, dtype=dtype)
        except (TypeError, ValueError):
            return pd.Series(values, dtype=object)
    kind = getattr(dtype, "kind", "O")
    # Whole numbers are drawn where the model has learned that they are; some types have no gaps.
    gaps = np.isnan(x)
    whole = in_units and bool((gaps | (x == np.rint(x))).all()) and (hasattr(dtype, "na_value") or not gaps.any())
    if kind == "f" or (kind in "iu" and whole):
        return pd.Series(x, dtype=dtype)
    return pd.Series(x)


class Conditions(NamedTuple):
    """What rows are conditioned on: names, values (rows, names), the labels of a class, and whether it is one."""

    names: list[str]
    values: Floats
    label: Label | None
    is_class: bool


def _one_column(array: NDArray[Any]) -> NDArray[Any]:
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def condition_to_learn(y: Any, rows: int) -> Conditions | None:
    """y as a condition: text, whole numbers and truth values are classes; numbers with fractions, or several columns,
    are a vector."""
    if y is None:
        return None
    if hasattr(y, "tocsr") and hasattr(y, "toarray"):
        raise TypeError("Sparse data was passed for y, but dense data is required.")
    array = _one_column(np.asarray(y))
    if array.ndim not in (1, 2):
        raise ValueError(f"y should be a 1d array, got an array of shape {array.shape} instead.")
    if array.shape[0] != rows:
        raise ValueError(f"X has {rows} rows, and y has {array.shape[0]}: expected one for each row of X.")
    if array.ndim == 2:
        named = [str(name) for name in getattr(y, "columns", [])]
        names = named or [f"y{place + 1}" for place in range(array.shape[1])]
        return Conditions(names, _finite(_as_floats(array, "y")), None, False)
    name = getattr(y, "name", None)
    if is_frame(y):
        name = y.columns[0]
    names = [str(name) if name is not None else "y"]
    if array.dtype.kind in "OSUT" and any(not isinstance(value, numbers.Number) for value in array):
        if any(value is None or value != value for value in array):
            raise ValueError("Input y contains NaN: a condition has no gaps.")
        found = {str(value): value for value in array}
        label = Label(sorted(found), [found[text] for text in sorted(found)])
        return Conditions(names, _classes(array, label), label, True)
    is_class = array.dtype.kind in "biu"
    floats = _finite(_as_floats(array, "y"))
    is_class = is_class or bool((floats == np.rint(floats)).all())
    return Conditions(names, floats.reshape(-1, 1), None, is_class)


def _finite(y: Floats) -> Floats:
    if not np.isfinite(y).all():
        raise ValueError("Input y contains NaN or infinity: a condition has no gaps.")
    return y


def _classes(array: NDArray[Any], label: Label) -> Floats:
    places = {text: place for place, text in enumerate(label.texts)}
    try:
        found = [places[str(value)] for value in array.ravel()]
    except KeyError as error:
        known = ", ".join(label.texts)
        raise ValueError(f"y: {error.args[0]!r} is not a class the model knows: {known}") from None
    return np.array(found, dtype=np.float64).reshape(-1, 1)


def condition_given(y: Any, width: int, label: Label | None) -> Floats | None:
    """A condition to draw or score under: one for all rows, or one for each."""
    if y is None:
        return None
    array = np.asarray(y)
    if width == 0:
        raise ValueError("y was given, but the model was fitted without y")
    if label is not None:
        return _classes(array.reshape(-1), label)
    floats = _as_floats(array, "y")
    if width == 1:
        return np.ascontiguousarray(floats.reshape(-1, 1))
    floats = floats.reshape(1, -1) if floats.ndim < 2 else floats
    if floats.ndim != 2 or floats.shape[1] != width:
        raise ValueError(f"y has shape {np.shape(y)}: expected {width} columns")
    return np.ascontiguousarray(floats)
