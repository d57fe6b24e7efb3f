import numpy as np
import pytest

from quadrivium_models import map, metrics, worlds


@pytest.mark.parametrize("name", worlds.NAMES)
def test_toys_have_a_density(name):
    x = worlds.sample(name, 200, random_state=0)
    assert x.shape == (200, 2) and np.array_equal(x[:50], worlds.sample(name, 50, random_state=0))
    nats = worlds.log_density(name, x)
    assert nats.shape == (200,) and np.isfinite(nats).all()


def test_entropy_is_the_mean_surprise():
    x = worlds.sample("moons", 20_000, random_state=0)
    assert -worlds.log_density("moons", x).mean() == pytest.approx(worlds.entropy("moons"), abs=0.03)
    with pytest.raises(ValueError, match="no toy \"moon\": expected one of"):
        worlds.sample("moon", 3)


def test_distances_tell_samples_apart():
    x, y = worlds.sample("rings", 500, random_state=0), worlds.sample("rings", 500, random_state=1)
    z = worlds.sample("2spirals", 500, random_state=2)
    for distance in (
        metrics.energy_distance,
        metrics.frechet_distance,
        metrics.wasserstein,
        metrics.sliced_wasserstein,
        metrics.mmd_squared,
        metrics.two_sample_accuracy,
    ):
        assert distance(x, y) < distance(x, z), distance
        assert distance(x, z, n_jobs=1) == distance(x, z, n_jobs=2)
    near, far = metrics.prdc(x, y), metrics.prdc(x, z)
    assert set(near) == {"precision", "recall", "density", "coverage"} and near["coverage"] > far["coverage"]
    with pytest.raises(ValueError, match="2 columns|shape"):
        metrics.energy_distance(x, z[:, :1])
    with pytest.raises(ValueError, match="k = 0"):
        metrics.prdc(x, y, k=0)


def test_descriptions_are_read():
    text = "Weights are those of a normalizing flow; its likelihood is exact."
    found = map.read(text)
    assert found["likelihood"] == "exact" and found["components"][0]["paradigm"] == "flow"
    span = found["components"][0]["evidence"][0]
    assert b"flow" in text.encode()[span["start"] : span["end"]]
    assert "flow" in map.card(text)
    assert map.read("Good morning.")["outside"].startswith("cannot tell")
