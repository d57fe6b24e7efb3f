import copy
import os
import pickle
import shutil
import subprocess

import numpy as np
import pytest

import quadrivium_models as qm
from conftest import few


def same(a, b):
    return np.array_equal(np.asarray(a), np.asarray(b))


def test_every_kind_has_an_estimator(kind):
    assert qm.recipe(kind, 100, 3)["options"]["steps"] >= 1


def test_the_same_seed_gives_the_same_bits(kind, X):
    a, b = few(kind).fit(X), few(kind).set_params(n_jobs=2).fit(X)
    assert same(a.sample(20, random_state=1), b.sample(20, random_state=1))
    assert not same(a.sample(20, random_state=1), a.sample(20, random_state=2))
    assert a.sample(20, random_state=1).dtype == np.float64
    if hasattr(a, "score_samples"):
        assert same(a.score_samples(X), b.score_samples(X))


def test_ranges_of_rows_are_the_whole(kind, X):
    model = few(kind).fit(X)
    whole = model.sample(50, random_state=7)
    shares = [model.sample(rows=rows, random_state=7) for rows in [(0, 20), (20, 21), (21, 21), (21, 50)]]
    assert same(np.concatenate(shares), whole)
    assert same(model.sample(20, random_state=7), whole[:20])


def test_blocks_do_not_show(X):
    model = qm.GaussianMixture(random_state=0).fit(X)
    many = model.sample(10_000, random_state=0)
    assert same(many[9_000:], model.sample(rows=(9_000, 10_000), random_state=0))
    assert same(model.score_samples(many)[9_990:], model.score_samples(many[9_990:]))


def test_files_and_pickles_hold_all(kind, X, tmp_path):
    model = few(kind).fit(X)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = type(model).load(path)
    assert type(qm.load(path)) is type(model)
    for other in (loaded, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert same(other.sample(5, random_state=3), model.sample(5, random_state=3))
        assert other.likelihood_kind_ == model.likelihood_kind_
        assert (other.nfe_, other.n_features_in_, other.n_parameters_) == (model.nfe_, 2, model.n_parameters_)
        if hasattr(model, "score_samples"):
            assert same(other.score_samples(X), model.score_samples(X))


def test_a_file_of_another_kind_is_refused(X, tmp_path):
    path = tmp_path / "model.safetensors"
    few("vae").fit(X).save(path)
    with pytest.raises(ValueError, match="a VAE: expected a Flow"):
        qm.Flow.load(path)
    with pytest.raises(FileNotFoundError):
        qm.load(tmp_path / "no.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not a model's file"):
        qm.load(path)


def test_likelihoods_are_what_they_say():
    X = np.random.default_rng(0).normal(size=(60, 3))
    kinds = {kind: few(kind).fit(X).likelihood_kind_ for kind in qm.KINDS}
    assert kinds["flow"] == kinds["autoregressive"] == kinds["kernel_density"] == "exact"
    assert kinds["vae"] == kinds["latent_diffusion"] == "lower bound"
    assert kinds["diffusion"] == kinds["flow_matching"] == "ODE estimate"
    for kind in ("gan", "score"):
        model = few(kind)
        assert kinds[kind] == "none" and not hasattr(model, "score_samples") and not hasattr(model, "score")
        with pytest.raises(AttributeError, match="no likelihood"):
            model.fit(X).score_samples(X)
    energy = few("energy").fit(X)
    assert energy.likelihood_kind_ == "unnormalized"
    assert energy.score_samples(X).shape == (60,) and not hasattr(energy, "score")
    energy.fit(X, X[:, 0] > 0)
    assert not hasattr(energy, "score_samples") and energy.sample(3, y=True).shape == (3, 3)


def test_a_good_model_scores_near_the_truth():
    X = qm.worlds.sample("moons", 2_000, random_state=0)
    unseen = qm.worlds.sample("moons", 2_000, random_state=1)
    model = qm.GaussianMixture(random_state=0).fit(X)
    truth = qm.worlds.log_density("moons", unseen).mean()
    assert truth - 0.5 < model.score(unseen) < truth + 0.05
    floor = qm.metrics.energy_distance(X, unseen)
    assert qm.metrics.energy_distance(model.sample(2_000, random_state=2), unseen) < max(20 * floor, 0.02)


def test_numbers_beyond_f32_keep_their_digits():
    seconds = 1_700_000_000 + np.random.default_rng(0).random((300, 1))
    model = qm.GaussianMixture(random_state=0).fit(seconds)
    drawn = model.sample(100, random_state=0)
    assert 1_699_999_999 < drawn.min() and drawn.max() < 1_700_000_002 and len(np.unique(drawn)) > 50
    tiny = qm.GaussianMixture(random_state=0).fit(seconds * 1e-60)
    assert tiny.score(seconds * 1e-60) == pytest.approx(model.score(seconds) + 60 * np.log(10), abs=0.2)


def test_classes_are_conditions(kind, X):
    y = np.where(X[:, 1] > 0.25, 7, 3)
    model = few(kind).fit(X, y)
    assert model.sample(4, random_state=0, y=7).shape == (4, 2)
    assert model.sample(4, random_state=0, y=[7, 3, 7, 3]).shape == (4, 2)
    assert model.sample(4, random_state=0).shape == (4, 2)
    whole = model.sample(4, random_state=0, y=[7, 3, 7, 3])
    assert same(whole[2:], model.sample(rows=(2, 4), random_state=0, y=[7, 3, 7, 3]))
    if hasattr(model, "score_samples"):
        assert model.score_samples(X, y).shape == (len(X),)
        assert model.score_samples(X, 3).shape == (len(X),)
        assert model.score_samples(X).shape == (len(X),)
    with pytest.raises(ValueError, match="5 is not a class the model knows: 3, 7"):
        model.sample(1, y=5)
    with pytest.raises(ValueError, match="2 rows"):
        model.sample(3, y=[3, 7])


def test_conditions_are_learned_and_saved(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.choice(["left", "right"], 400)
    X = np.where(y == "left", -3.0, 3.0)[:, None] + rng.normal(size=(400, 1))
    model = qm.GaussianMixture(random_state=0).fit(X, y)
    model.save(tmp_path / "m.safetensors")
    for model in (model, qm.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model))):
        assert model.sample(200, random_state=0, y="left").mean() == pytest.approx(-3, abs=0.4)
        assert model.sample(200, random_state=0, y="right").mean() == pytest.approx(3, abs=0.4)
        assert model.score(X, y) > model.score(X) + 0.5
        with pytest.raises(ValueError, match="'up' is not a class"):
            model.score(X, "up")


def test_numbers_are_conditions():
    rng = np.random.default_rng(0)
    y = rng.random(500)
    X = 10 * y[:, None] + rng.normal(size=(500, 1))
    model = qm.Autoregressive(steps=300, random_state=0).fit(X, y)
    assert model.sample(300, random_state=0, y=0.9).mean() == pytest.approx(9, abs=1)
    with pytest.raises(ValueError, match="no condition was given"):
        model.score(X)
    two = few("vae").fit(X, np.column_stack([y, y**2]))
    assert two.sample(3, y=[0.1, 0.01]).shape == (3, 1)
    with pytest.raises(ValueError, match="expected 2 columns"):
        two.sample(3, y=0.1)


def test_config_is_merged_into_the_recipe(X):
    model = few("vae", config={"latent_dim": 1, "optimizer.lr": 1e-4, "optimizer": {"weight_decay": 0.5}}).fit(X)
    assert model.config_["latent_dim"] == 1
    assert (model.config_["optimizer"]["lr"], model.config_["optimizer"]["weight_decay"]) == (1e-4, 0.5)
    assert few("diffusion", config={"timesteps": np.int64(10)}).fit(X).nfe_ == 10
    for config, words in [
        ({"latent": 1}, "no setting \"latent\": expected one of"),
        ({"latent_dim": "one"}, "latent_dim = \"one\": invalid type"),
        ({"latent_dim": 0}, "latent_dim = 0: expected"),
        ({"dim": 3}, "dim = 3: the rows have"),
        ({"latent_dim": object()}, "cannot be written as JSON"),
    ]:
        with pytest.raises(ValueError) as error:
            few("vae", config=config).fit(X)
        assert words in str(error.value)


def test_wrong_parameters_are_named(X):
    for params, words in [
        ({"steps": 0}, "steps = 0"),
        ({"batch": 1.5}, "batch = 1.5"),
        ({"validation": 1.0}, "validation = 1.0"),
        ({"units": "metric"}, "units = 'metric'"),
        ({"n_jobs": 0}, "n_jobs = 0"),
        ({"random_state": -1}, "random_state = -1"),
        ({"config": 3}, "config = 3"),
    ]:
        with pytest.raises(ValueError) as error:
            few("vae").set_params(**params).fit(X)
        assert words in str(error.value)
    with pytest.raises(ValueError, match="Invalid parameter 'step'"):
        few("vae").set_params(step=1)


def test_wrong_rows_are_refused(X):
    model = few("flow")
    with pytest.raises(ValueError, match="dates or times"):
        model.fit(np.array([["2020-01-01"], ["2020-01-02"]], dtype="datetime64[D]"))
    with pytest.raises(ValueError, match="column 1 is constant"):
        model.fit(np.column_stack([X[:, 0], np.ones(len(X))]))
    with pytest.raises(ValueError, match="contains NaN"):
        model.fit(np.where(X > 0, X, np.nan))
    with pytest.raises(ValueError, match="X has 120 rows, and y has 3"):
        model.fit(X, [1, 2, 3])
    model.fit(X)
    with pytest.raises(ValueError, match="fitted without y"):
        model.sample(y=1)
    with pytest.raises(ValueError, match="range of rows"):
        model.sample(rows=(5, 3), random_state=0)
    with pytest.raises(ValueError, match="whole number as random_state"):
        model.sample(rows=(3, 5))
    with pytest.raises(ValueError, match="n_samples = 0"):
        model.sample(0)
    with pytest.raises(ValueError, match="temperature"):
        model.sample(temperature=0.0)


def test_random_states_of_numpy(X):
    model = few("flow").fit(X)
    np.random.seed(3)
    a = model.sample(2)
    np.random.seed(3)
    assert same(a, model.sample(2))
    rng = np.random.default_rng(0)
    assert not same(model.sample(2, random_state=rng), model.sample(2, random_state=rng))


def test_the_report_has_losses(X):
    report = few("vae", validation=0.2).fit(X).report_
    assert len(report["loss"]) == 3 and report["stop"] == "completed"
    assert set(report["parts"]) and all(len(part) == 3 for part in report["parts"].values())
    assert report["validation"] and len(report["validation"][0]) == 2


@pytest.fixture
def program():
    path = os.environ.get("QUADRIVIUM") or shutil.which("quadrivium")
    if not path:
        pytest.skip("the program quadrivium is not there: its path is in QUADRIVIUM")

    def run(*arguments):
        return subprocess.run([path, *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    return run


def test_the_program_reads_its_files(program, X, tmp_path):
    path, rows = tmp_path / "m.safetensors", tmp_path / "x.csv"
    model = few("flow").fit(X, np.where(X[:, 1] > 0.25, "up", "down"))
    model.save(path)
    drawn = program("sample", path, "-n", 3, "--given", "y=up")
    assert drawn.splitlines()[0].split(",") == ["x1", "x2", "y"] and drawn.count("up") == 3
    model = few("flow").fit(X)
    model.save(path)
    np.savetxt(rows, X, delimiter=",", header="x1,x2", comments="", fmt="%.17g")
    scores = np.array(program("score", path, rows).splitlines()[1:], dtype=float)
    assert np.allclose(scores, model.score_samples(X), rtol=0, atol=1e-9)


def test_it_reads_the_programs_files(program, X, tmp_path):
    path, rows = tmp_path / "m.safetensors", tmp_path / "x.csv"
    table = np.column_stack([X, np.rint(3 * X[:, 0]), X[:, 1] > 0.25])
    np.savetxt(rows, table, delimiter=",", header="a,b,steps,up", comments="")
    fit = ["fit", rows, "--model", "vae", "--steps", 3, "--output", path]
    program(*fit, "--units", "auto")
    loaded = qm.load(path)
    assert isinstance(loaded, qm.VAE) and list(loaded.feature_names_in_) == ["a", "b", "steps", "up"]
    assert loaded.units == "auto" and len(loaded.columns_) == 4
    program(*fit, "--dequantize", "--condition", "up")
    drawn = qm.load(path).sample(50, random_state=0, y=1)
    assert np.asarray(drawn).shape == (50, 3) and (np.asarray(drawn)[:, 2] % 1 == 0).all()
