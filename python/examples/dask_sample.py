"""A million rows from two Dask workers, written and scored as Parquet: pip install 'dask[dataframe]' distributed"""

import dask.dataframe as dd
import quadrivium_models as qm
from dask.distributed import Client

if __name__ == "__main__":
    model = qm.Flow(random_state=0, steps=500).fit(qm.worlds.sample("moons", 2_000, random_state=0))
    with Client(n_workers=2, threads_per_worker=1):  # or Client("tcp://scheduler:8786") for a cluster
        qm.engines.dask_sample(model, 1_000_000, random_state=7).to_parquet("drawn", write_index=False)
        qm.engines.dask_score(model, dd.read_parquet("drawn")).to_parquet("scored", write_index=False)
        scored = dd.read_parquet("scored").compute().sort_values("row")
    # The rows that one process would draw, bit for bit.
    assert (scored[["x1", "x2"]].to_numpy()[:1000] == model.sample(1000, random_state=7)).all()
    print(scored.head())
