import re
from pathlib import Path

import quadrivium_models as qm


def test_the_readmes_example_runs(tmp_path, monkeypatch):
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert isinstance(qm.load(tmp_path / "moons.safetensors"), qm.Flow)


def test_the_readme_names_every_estimator():
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert all(f"`{estimator.__name__}`" in text for estimator in qm.KINDS.values())
