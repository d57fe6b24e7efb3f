import pickle

import numpy as np
import pytest

import quadrivium_models as qm
from conftest import few

pd = pytest.importorskip("pandas")


def test_a_frame_gives_a_frame(X):
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = few("flow").fit(frame)
    drawn = model.sample(5, random_state=0)
    assert list(drawn.columns) == list(model.feature_names_in_) == ["a", "b"]
    assert np.array_equal(drawn.to_numpy(), few("flow").fit(X).sample(5, random_state=0))
    assert np.array_equal(model.score_samples(frame), few("flow").fit(X).score_samples(X))
    with pytest.raises(ValueError, match="same order"):
        model.score_samples(frame[["b", "a"]])


@pytest.mark.parametrize("name", ["gaussian_mixture", "flow", "diffusion", "latent_diffusion"])
def test_units_model_columns_as_they_are(name, frame, tmp_path):
    model = few(name, units="auto").fit(frame)
    path = tmp_path / "m.safetensors"
    model.save(path)
    for other in (model, pickle.loads(pickle.dumps(model))):
        drawn = other.sample(400, random_state=0)
        assert list(drawn.columns) == list(frame.columns)
        assert (drawn.dtypes == frame.dtypes).all()
        assert set(drawn["city"]) <= {"Bern", "Chur", "Genf"} and set(drawn["size"]) <= {"S", "M", "L"}
        assert set(drawn["children"]) <= {0, 1, 2, 3}
        assert 0.1 < drawn["weight"].isna().mean() < 0.3
        assert not drawn["height"].isna().any()
    scores = model.score_samples(frame)
    assert np.isfinite(scores).all()
    loaded = qm.load(path)
    assert np.array_equal(loaded.score_samples(frame), scores)
    again = loaded.sample(400, random_state=0)
    assert list(again["city"]) == list(drawn["city"]) and set(again["member"]) <= {"True", "False"}
    assert model.columns_[0].startswith("height: ") and model.columns_[2] == "city: labels: 'Bern', 'Chur', 'Genf'"
    assert model.columns_[:5] == loaded.columns_[:5]


def test_labels_that_are_not_known(frame):
    model = few("gaussian_mixture", units="auto").fit(frame)
    other = frame.copy()
    other.loc[3, "city"] = "Rom"
    with pytest.raises(ValueError, match="column city: 'Rom' is no label that the model knows: Bern, Chur, Genf"):
        model.score_samples(other)
    other.loc[3, "city"] = None
    with pytest.raises(ValueError, match="city"):
        model.score_samples(other)
    with pytest.raises(ValueError, match="height"):
        model.score_samples(frame.assign(height=np.nan))


def test_gaps_are_labels_too(frame):
    gaps = frame[["height", "city"]].copy()
    gaps.loc[::4, "city"] = None
    drawn = few("gaussian_mixture", units="auto").fit(gaps).sample(200, random_state=0)
    assert 0.1 < drawn["city"].isna().mean() < 0.4


def test_without_units_text_and_gaps_are_refused(frame):
    with pytest.raises(ValueError, match="column city holds text.*units='auto'"):
        few("flow").fit(frame)
    with pytest.raises(ValueError, match="contains NaN.*units='auto'"):
        few("flow").fit(frame[["height", "weight"]])
    with pytest.raises(ValueError, match="column city holds 200 different texts"):
        few("flow", units="auto").fit(frame.assign(city=[f"no {row}" for row in range(200)]))


def test_an_array_with_gaps(X):
    gaps = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    drawn = few("flow", units="auto").fit(gaps).sample(300, random_state=0)
    assert isinstance(drawn, np.ndarray) and 0.1 < np.isnan(drawn).mean() < 0.3


def test_a_series_names_the_condition(frame):
    model = few("gaussian_mixture", units="auto").fit(frame[["height", "children"]], frame["city"])
    assert list(model.sample(3, y="Bern").columns) == ["height", "children"]
    with pytest.raises(ValueError, match="y has the name of a column of X: height"):
        few("flow").fit(frame[["height", "children"]], frame["height"])


def test_nullable_numbers():
    frame = pd.DataFrame({"a": pd.array([1, 2, None, 4] * 20, dtype="Int64"), "b": np.arange(80.0) ** 0.5})
    drawn = few("gaussian_mixture", units="auto").fit(frame).sample(50, random_state=0)
    assert drawn["a"].isna().any() and set(drawn["a"].dropna()) <= {1, 2, 4} and drawn["a"].dtype == "Int64"
