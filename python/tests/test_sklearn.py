"""scikit-learn's own checks of an estimator, for every kind."""

import subprocess
import sys

import numpy as np
import pytest

import quadrivium_models as qm
from conftest import few

sklearn = pytest.importorskip("sklearn")


def test_check_estimator(kind):
    from sklearn.utils.estimator_checks import check_estimator

    results = check_estimator(few(kind), on_fail=None, on_skip=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert not failed
    passed = sum(result["status"] == "passed" for result in results)
    skipped = sum(result["status"] == "skipped" for result in results)
    print(f"{kind}: {passed} passed, {skipped} skipped")
    assert passed >= 35


def test_clone_and_grid_search(X):
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    model = few("vae", config={"optimizer.lr": 1e-3})
    assert clone(model).get_params() == model.get_params()
    search = GridSearchCV(few("autoregressive"), {"steps": [2, 3]}, cv=2).fit(X)
    assert search.best_params_["steps"] in (2, 3)
    assert np.isfinite(search.best_score_)
    assert search.best_estimator_.sample(2).shape == (2, 2)


def test_pipeline(X):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), few("flow")).fit(X)
    assert pipeline.score_samples(X).shape == (len(X),)


def test_the_errors_are_scikit_learns():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        few("flow").sample()


def test_scikit_learn_is_not_needed():
    code = (
        "import sys, quadrivium_models as qm\n"
        "m = qm.GaussianMixture(random_state=0).fit(qm.worlds.sample('moons', 100))\n"
        "m.score(m.sample(5)); repr(m); m.set_params(steps=3)\n"
        "assert 'sklearn' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
