"""A million rows by Ray, written and scored as Parquet: pip install 'ray[data]'"""

import quadrivium_models as qm
import ray

if __name__ == "__main__":
    model = qm.Flow(random_state=0, steps=500).fit(qm.worlds.sample("moons", 2_000, random_state=0))
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1")  # or "auto" for a cluster
    qm.engines.ray_sample(model, 1_000_000, random_state=7).write_parquet("drawn")
    qm.engines.ray_score(model, ray.data.read_parquet("drawn")).write_parquet("scored")
    scored = ray.data.read_parquet("scored").to_pandas().sort_values("row")
    # The rows that one process would draw, bit for bit.
    assert (scored[["x1", "x2"]].to_numpy()[:1000] == model.sample(1000, random_state=7)).all()
    print(scored.head())
