import numpy as np
import pytest

import quadrivium_models as qm

#: Kinds that are trained in steps, and few of them for tests.
FEW = {"gaussian_mixture": None, "kernel_density": None}


def few(kind, **params):
    """An estimator that learns next to nothing, quickly."""
    return qm.KINDS[kind](steps=FEW.get(kind, 3), random_state=0, n_jobs=1, **params)


@pytest.fixture(params=sorted(qm.KINDS))
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def X():
    return qm.worlds.sample("moons", 120, random_state=0)


@pytest.fixture(scope="session")
def frame():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    n = 200
    return pd.DataFrame(
        {
            "height": rng.normal(170, 10, n),
            "children": rng.integers(0, 4, n),
            "city": rng.choice(["Bern", "Chur", "Genf"], n),
            "weight": np.where(rng.random(n) < 0.2, np.nan, rng.normal(70, 9, n)),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n), categories=["S", "M", "L"], ordered=True),
            "member": rng.random(n) < 0.3,
        }
    )
