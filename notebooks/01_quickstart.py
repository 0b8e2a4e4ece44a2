# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a blended scene to fluxes with error bars
#
# Four galaxies and a star overlap, in six bands of LSST. How bright is each of them, and how sure can we be?
# The scene is a simulation that comes with the package, so at the end we can look at the truth.
# Everything below works the same for a scene of your own: replace the first line by
# `ss.read_observation("scene.npz")` and `ss.read_catalog("scene.npz")`.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import scoresample as ss

FAST = "SCORESAMPLE_FAST" in os.environ  # a short look, as in the tests: far too few draws to rely on
sampler = ss.HMC(max_steps=4) if FAST else ss.HMC()
sizes = (
    {"num_chains": 2, "num_warmup": 25, "num_draws": 25} if FAST else {"num_warmup": 200, "num_draws": 600}
)

# %% [markdown]
# ## Read, and look
#
# An observation has images, inverse variances (0 where there is no data) and a PSF for each band. A catalog has
# positions as (y, x) pixels, or sky positions that the WCS places.

# %%
obs, catalog = ss.load_demo()
print(obs.frame.bands, obs.frame.shape, obs.frame.flux_unit)
print(catalog.centers.round(1), catalog.is_star)

fig, panels = plt.subplots(1, len(obs.frame.bands), figsize=(14, 2.8), layout="constrained")
for panel, band, image, weight in zip(panels, obs.frame.bands, obs.images, obs.inverse_variance, strict=True):
    panel.imshow(np.arcsinh(np.asarray(image * jnp.sqrt(weight)) / 3), origin="lower", cmap="gray_r")
    panel.plot(*catalog.centers.T[::-1], "+", color="C3")
    panel.set(title=band, xticks=[], yticks=[])

# %% [markdown]
# ## A scene and its posterior
#
# Every detection becomes a source: a star is a point, a galaxy a free image in a box as large as its light. The
# prior says what galaxies look like: here smooth profiles of unknown size and shape, and how galaxies scatter about
# them. `ss.load_prior("log-gaussian")` is quicker, and its errors of faint neighbours are too small.
# Fluxes, and a constant background in each band, are linear in the model, so
# they are integrated out exactly; printed, the posterior shows each of its terms.

# %%
prior = ss.load_prior("profile")
scene = ss.initialize_scene(obs, catalog, prior=prior)
posterior = ss.Posterior(scene, obs, image=prior)
posterior

# %% [markdown]
# ## The most probable scene
#
# One good fit to begin with. It has no error bars, and it says how the climb went.

# %%
best = ss.find_map(posterior, max_steps=40 if FAST else 1000)
print(best.status, "after", len(best.history.log_prob), "steps")
ss.plot_scene(posterior, best)

# %% [markdown]
# ## Draws from the posterior
#
# Four chains that start around the best fit, by Hamiltonian Monte Carlo; `ss.NUTS()` and others take its place. The
# same key gives the same draws.

# %%
draws = ss.sample(jax.random.key(7), posterior, sampler, start=best.position, **sizes)
draws.derived["flux"].shape  # (chain, draw, object, band)

# %% [markdown]
# ## May we use them?
#
# The verdict looks at R-hat, effective sample sizes, divergences and energies, and gives its reasons.

# %%
ss.diagnose(draws)

# %% [markdown]
# ## The catalog
#
# One row for each object, with units. Besides fluxes and errors it says how much of the variance comes from the
# neighbours (`varFromNeighbours`), and how far the data rather than the prior hold the shape (`confidence`).

# %%
hall = ss.hallucination_score(jax.random.key(8), posterior, draws)
table = ss.flux_catalog(draws, hall)
table[
    "objectId", "i_flux", "i_fluxErr", "i_varFromNeighbours", "blendedness", "confidence", "rhatMax", "essMin"
]

# %%
ss.plot_scene(posterior, draws, true_flux=catalog.true_flux)

# %% [markdown]
# ## The truth
#
# In units of the posterior's standard deviation the errors should look like draws from a standard normal.

# %%
for k, row in enumerate(table):
    for b, band in enumerate(obs.frame.bands):
        mean, sd, true = row[f"{band}_flux"].value, row[f"{band}_fluxErr"].value, catalog.true_flux[k, b]
        pull = (mean - true) / sd
        print(
            f"{row['objectId']} {band}  true {true:9.1f}  posterior {mean:9.1f} +- {sd:6.1f}  pull {pull:+.2f}"
        )

# %% [markdown]
# Draws are joint: colours, sums and ratios come with their right errors, correlations included.

# %%
flux = draws.derived["flux"].reshape(-1, len(table), len(obs.frame.bands))
g, i = (obs.frame.bands.index(band) for band in "gi")
with np.errstate(invalid="ignore"):  # a flux may scatter below zero
    colour = -2.5 * np.log10(flux[:, :, g] / flux[:, :, i])
print("g - i:", np.nanmean(colour, axis=0).round(3), "+-", np.nanstd(colour, axis=0).round(3))

# %% [markdown]
# ## Any density
#
# The samplers know nothing of scenes. Here is a banana; a position may be any tree of arrays.


# %%
def log_prob(position):
    x, y = position["x"], position["y"]
    return -0.5 * x**2 - 0.5 * ((y - x**2) / 0.5) ** 2


banana = ss.sample(
    jax.random.key(9), ss.Density(log_prob), ss.NUTS(), start={"x": jnp.zeros(()), "y": jnp.zeros(())}, **sizes
)  # fmt: skip
fig, panel = plt.subplots(figsize=(4, 4))
panel.plot(banana.position["x"].ravel(), banana.position["y"].ravel(), ".", markersize=1)
panel.set(xlabel="x", ylabel="y")
ss.diagnose(banana)
