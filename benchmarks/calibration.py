"""Simulation-based calibration of small scenes: is the truth a draw like any other?

    python benchmarks/calibration.py --scenes 120      writes benchmarks/calibration.csv; 10 to 15 s for each scene

Every scene is drawn from the model itself: images of two overlapping galaxies from the Gaussian morphology prior, the
center of a star, fluxes, background and noise. Where the posterior is right, the rank of the true value among
posterior draws is uniform, for every quantity (Talts et al. 2018, arXiv:1804.06788).

Galaxies whose image has little or negative total light, which the prior allows, are left out on both sides: of the
truths, and of the draws. What is tested then is the posterior under the prior restricted to the rest.
"""

import argparse
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd

import scoresample as ss
from scoresample.data.catalog import make_catalog
from scoresample.data.observation import make_observation
from scoresample.diagnostics.convergence import convergence_table

STORED = pathlib.Path(__file__).parent / "calibration.csv"
SHAPE, BANDS, BOX = (28, 28), ("g", "i"), 17
CENTERS = np.array([[13.0, 10.0], [15.0, 17.0], [20.0, 13.0]])
SEEING = (1.7, 1.4)
FLUX = dist.Normal(jnp.array([[500.0, 700.0], [300.0, 500.0], [200.0, 300.0]]), 100.0)
BACKGROUND = dist.Normal(0.0, 0.3)
LEAST_TOTAL = 10.0  # of S, peak about 1; the mean galaxy has about 40
SIZES = {"num_chains": 4, "num_warmup": 100, "num_draws": 250}


def make_posterior(images):
    """Return the posterior of images: two galaxies and a star."""
    y, x = np.indices((13, 13)) - 6
    psfs = np.stack([np.exp(-0.5 * (y**2 + x**2) / s**2) / (2 * np.pi * s**2) for s in SEEING])
    observation = make_observation(images, np.ones((len(BANDS), *SHAPE)), psfs, BANDS, flux_unit="nJy")
    catalog = make_catalog(CENTERS, is_star=[False, False, True])
    scene = ss.initialize_scene(observation, catalog, box_sizes=(BOX,))
    return ss.Posterior(scene, observation, flux=FLUX, background=BACKGROUND, image=ss.load_prior("gaussian"))


@eqx.filter_jit
def summarize(posterior, position, amplitudes):
    """Return what is ranked, from parameters and amplitudes (band, column)."""
    values = posterior.values(position)
    flux = posterior.likelihood.object_fluxes(posterior.columns(values), amplitudes)
    return {"flux": flux, "background": amplitudes[:, -1]} | shapes(posterior, position)


@eqx.filter_jit
def shapes(posterior, position):
    """Return what is ranked of the parameters alone."""
    values = posterior.values(position)
    total = posterior.likelihood.renderer.totals(values)[:2]
    return {"center": values["star_2.center"], "total": total}


def draw_truth(key, posterior):
    """Draw parameters and amplitudes from the prior, and images without noise."""
    key_amplitude, key_background, key = jax.random.split(key, 3)
    flux = FLUX.sample(key_amplitude)
    background = BACKGROUND.sample(key_background, (1, len(BANDS)))
    while True:
        key, *keys = jax.random.split(key, 1 + len(posterior.parameters))
        values = {
            p.name: p.prior.sample(k, p.shape, 1)[0] for p, k in zip(posterior.parameters, keys, strict=True)
        }
        if float(posterior.likelihood.renderer.totals(posterior.fixed | values)[:2].min()) > LEAST_TOTAL:
            break
    position = {p.name: p.unconstrain(values[p.name]) for p in posterior.parameters}
    amplitudes = jnp.concatenate([flux, background]).T
    images = jnp.einsum("bk,kbp->bp", amplitudes, posterior.columns(posterior.values(position)))
    return position, amplitudes, np.asarray(images).reshape(len(BANDS), *SHAPE)


def rank_scene(seed):
    """Simulate and sample one scene; return one row of ranks in (0, 1), and of what wrong error bars would give."""
    key_truth, key_noise, key_sample, key_rank = jax.random.split(jax.random.key(seed), 4)
    blank = make_posterior(np.random.default_rng(0).normal(size=(len(BANDS), *SHAPE)))
    position, amplitudes, images = draw_truth(key_truth, blank)
    posterior = make_posterior(images + np.asarray(jax.random.normal(key_noise, images.shape)))
    best = ss.find_map(posterior, progress=False)
    draws = ss.sample(key_sample, posterior, ss.HMC(), start=best.position, progress=False, **SIZES)
    compiled = posterior.for_compilation()
    truth = summarize(compiled, position, amplitudes)
    flat = {name: jnp.asarray(leaf.reshape(-1, *leaf.shape[2:])) for name, leaf in draws.position.items()}
    found = {name: draws.derived[name].reshape(-1, *truth[name].shape) for name in ("flux", "background")}
    found |= jax.vmap(lambda at: shapes(compiled, at))(flat)
    kept = np.asarray(found["total"]).min(axis=1) > LEAST_TOTAL
    table = convergence_table(draws)
    fluxes = table[table["kind"] == "flux"]
    row = {"seed": seed, "map": best.status, "kept": kept.mean(),
           "r_hat": fluxes["r_hat"].max(), "ess": fluxes["ess_bulk"].min()}  # fmt: skip
    uniform = np.random.default_rng(np.asarray(jax.random.key_data(key_rank)))
    for name, value in truth.items():
        values = np.asarray(found[name], float)[kept]
        for index in np.ndindex(value.shape):
            label = f"{name}[{','.join(map(str, index))}]"
            row[label] = rank(np.asarray(value, float)[index], values[(slice(None), *index)], uniform)
            if name == "flux":
                middle = values[(slice(None), *index)].mean()
                narrow = middle + 0.7 * (values[(slice(None), *index)] - middle)
                row[f"narrow {label}"] = rank(float(value[index]), narrow, uniform)
    return row


def rank(truth, values, uniform):
    """Return the rank of the truth among values, spread evenly over its step, in (0, 1)."""
    return (np.sum(values < truth) + uniform.uniform()) / (len(values) + 1)


def main(arguments=None):
    """Rank scenes and store a table, row by row, so that a run can be cut short and gone on with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=120)
    parser.add_argument("--output", type=pathlib.Path, default=STORED)
    options = parser.parse_args(arguments)
    rows = pd.read_csv(options.output).to_dict("records") if options.output.exists() else []
    for seed in range(len(rows), options.scenes):
        rows.append(rank_scene(seed))
        print(*(f"{name} {rows[-1][name]:.4g}" for name in ("seed", "kept", "r_hat", "ess")), flush=True)
        pd.DataFrame(rows).to_csv(options.output, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
