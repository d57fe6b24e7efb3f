# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of quadrivium
#
# Four ways to learn a distribution, held against a truth that is known. Fifteen minutes to read, a minute to run.
#
# A generative model learns from rows, draws new ones and, if it has a likelihood, says how probable a row is. Which kind of
# model to take is usually argued with words. Here it is measured.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import quadrivium_models as qm

# %% [markdown]
# ## Data whose density is known
#
# `worlds` has toys in the plane. Each can be drawn from, and each knows its density and its entropy. No model can do
# better on unseen rows than the entropy, but by chance: a model that does has a fault.

# %%
print(qm.worlds.NAMES)
train = qm.worlds.sample("moons", 2_000, random_state=0)
test = qm.worlds.sample("moons", 2_000, random_state=1)
entropy = qm.worlds.entropy("moons")
truth = -qm.worlds.log_density("moons", test).mean()
print(f"entropy {entropy:.3f} nats; NLL of the test rows under the truth itself {truth:.3f}")

# %% [markdown]
# ## Four paradigms, one interface
#
# `fit`, `sample` and `score_samples` are scikit-learn's. The size of each network and the length of its training follow from
# the table; the seed determines every bit of the result.

# %%
models = {
    "autoregressive": qm.Autoregressive(random_state=0).fit(train),
    "VAE": qm.VAE(random_state=0).fit(train),
    "GAN": qm.GAN(random_state=0).fit(train),
    "diffusion": qm.Diffusion(random_state=0).fit(train),
}
drawn = {name: model.sample(2_000, random_state=1) for name, model in models.items()}

# %%
figure, axes = plt.subplots(1, 5, figsize=(13, 3), sharex=True, sharey=True, layout="constrained")
for ax, (name, rows) in zip(axes, {"truth": test, **drawn}.items()):
    ax.scatter(*rows.T, s=2, color="black" if name == "truth" else "tab:blue", linewidths=0)
    ax.set_title(name)
    ax.set_aspect("equal")
plt.show()

# %% [markdown]
# ## How good are they?
#
# Two questions that need not have the same answer. *Does the model find unseen rows probable?* That is the negative
# log-likelihood, NLL, in nats, beside the entropy. `likelihood_kind_` says how far to trust it: a VAE gives a bound, a diffusion
# solves an equation, a GAN has none. *Do its samples look like the truth's?* That is the energy distance. It is never 0
# between finite samples, so the first line has the distance of two samples of the truth.

# %%
measured = {
    "truth": {
        "NLL": truth,
        "likelihood": "known",
        "energy distance": qm.metrics.energy_distance(qm.worlds.sample("moons", 2_000, random_state=2), test),
    }
}
for name, model in models.items():
    measured[name] = {
        "NLL": -model.score(test) if hasattr(model, "score") else np.nan,
        "likelihood": model.likelihood_kind_,
        "energy distance": qm.metrics.energy_distance(drawn[name], test),
        "networks per row": model.nfe_,
        "parameters": model.n_parameters_,
    }
pd.DataFrame(measured).T

# %% [markdown]
# With a likelihood there is a density to look at, and to compare with the true one.

# %%
side = np.linspace(-2, 3, 80)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
densities = {
    "truth": qm.worlds.log_density("moons", grid),
    "autoregressive": models["autoregressive"].score_samples(grid),
    "diffusion": models["diffusion"].score_samples(grid),
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharex=True, sharey=True, layout="constrained")
for ax, (name, nats) in zip(axes, densities.items()):
    image = ax.pcolormesh(side, side, np.exp(nats).reshape(80, 80), vmin=0, vmax=1.0, cmap="viridis")
    ax.set_title(name)
    ax.set_aspect("equal")
figure.colorbar(image, ax=axes, label="density")
plt.show()

# %% [markdown]
# ## A table as people have them
#
# Numbers with ends and steps, labels, missing values: `units="auto"` models each column as it is. What comes out is a DataFrame
# with the same dtypes.

# %%
rng = np.random.default_rng(0)
n = 1_500
city = rng.choice(["Bern", "Chur", "Geneva"], n, p=[0.5, 0.2, 0.3])
age = rng.integers(18, 80, n)
people = pd.DataFrame(
    {
        "city": city,
        "age": age,
        "income": np.exp(rng.normal(10.5 + 0.3 * (city == "Geneva") + 0.008 * age, 0.4)).round(-2),
        "children": rng.poisson(np.where(age > 30, 1.4, 0.3)),
        "weight": np.where(rng.random(n) < 0.15, np.nan, rng.normal(65 + 0.1 * age, 10).round(1)),
    }
)
flow = qm.Flow(units="auto", random_state=0).fit(people)
for told in flow.columns_:
    print(told)
flow.sample(5, random_state=0)

# %%
synthetic = flow.sample(n, random_state=0)
figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
for frame, name, color in ((people, "learned", "black"), (synthetic, "drawn", "tab:blue")):
    axes[0].scatter(frame["age"], frame["income"], s=3, color=color, alpha=0.5, linewidths=0, label=name)
    shares = frame["children"].value_counts(normalize=True).sort_index()
    axes[1].plot(shares.index, shares, "o-", color=color, label=name)
    gaps = frame["weight"].isna().groupby(frame["city"]).mean()
    axes[2].plot(gaps.index, gaps, "o", color=color, label=name)
axes[0].set(xlabel="age", ylabel="income", yscale="log", title="one column against another")
axes[1].set(xlabel="children", ylabel="share", title="counts")
axes[2].set(ylim=(0, 0.3), ylabel="share", title="missing weights, by city")
axes[2].legend()
plt.show()

# %% [markdown]
# ## Conditions
#
# The second argument of `fit` is what rows are conditioned on: classes, or numbers. Then one can ask for incomes in Chur,
# and whether a row is probable *there*.

# %%
given = qm.Flow(units="auto", random_state=0).fit(people[["age", "income"]], people["city"])
for city in ("Bern", "Chur", "Geneva"):
    rows = given.sample(2_000, random_state=0, y=city)
    learned = people.loc[people["city"] == city, "income"].median()
    print(f"{city:7} median income: drawn {rows['income'].median():9,.0f}, learned from {learned:9,.0f}")

# %% [markdown]
# ## Keeping and sharing
#
# A saved model gives the same bits, here, in the program `quadrivium` and on another machine of the same kind. Each row of a
# seeded draw has an address, so that several machines can share the work: `rows` asks for some of them. The module `engines`
# does it with Dask and Ray.

# %%
path = Path(tempfile.mkdtemp()) / "moons.safetensors"
models["autoregressive"].save(path)
loaded = qm.load(path)
shares = [loaded.sample(random_state=7, rows=rows) for rows in ((0, 300), (300, 301), (301, 1_000))]
whole = models["autoregressive"].sample(1_000, random_state=7)
print("the same bits:", np.array_equal(np.concatenate(shares), whole), f"({path.stat().st_size / 1000:.0f} kB on disk)")

# %% [markdown]
# ## A map of what others build
#
# `map.card` reads a description of a model, in English, and says which of the paradigms it is made of, with the words that
# show it.

# %%
print(qm.map.card("Images are encoded by a VAE, and a diffusion model with 50 steps is trained on the latents."))

# %% [markdown]
# ## Where to go on
#
# `help(qm.Flow)` has all parameters; the README says when another library is the better choice.
