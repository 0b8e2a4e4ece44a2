"""Simulation-based calibration of small scenes: is the truth a draw like any other?

    python benchmarks/calibration.py --scenes 120                        writes benchmarks/calibration.csv
    python benchmarks/calibration.py --scenes 120 --prior log-gaussian   writes benchmarks/calibration_log.csv
    python benchmarks/calibration.py --scenes 120 --prior profile        writes benchmarks/calibration_profile.csv

10 to 15 s a scene. Every scene is drawn from the model itself: images of two overlapping galaxies from the prior,
the center of a star, fluxes, background and noise, as `scoresample calibrate` does it for a user's scene. Where the
posterior is right, the rank of the true value among posterior draws is uniform, for every quantity (Talts et al. 2018,
arXiv:1804.06788).

Galaxies whose image has little or negative light in all, which the prior ``gaussian`` allows, are left out on both
sides: of truths and of draws. What is tested then is the posterior under the prior restricted to the rest.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd

import scoresample as ss
from scoresample.data.catalog import make_catalog
from scoresample.data.observation import make_observation
from scoresample.products.calibration_scene import score_scene, simulate_scene

STORED = {
    "gaussian": pathlib.Path(__file__).parent / "calibration.csv",
    "log-gaussian": pathlib.Path(__file__).parent / "calibration_log.csv",
    "profile": pathlib.Path(__file__).parent / "calibration_profile.csv",
}
SHAPE, BANDS, BOX = (28, 28), ("g", "i"), 17
CENTERS = np.array([[13.0, 10.0], [15.0, 17.0], [20.0, 13.0]])
SEEING = (1.7, 1.4)
FLUX = dist.Normal(jnp.array([[500.0, 700.0], [300.0, 500.0], [200.0, 300.0]]), 100.0)
BACKGROUND = dist.Normal(0.0, 0.3)
# Of the light of S, whose peak is about 1; the mean galaxy has about 40.
LEAST = {"gaussian": 10.0, "log-gaussian": 0.0, "profile": 0.0}
# Of `profile` two scenes of 120 had step sizes too large for their long trajectories after 100 steps.
WARMUP = {"gaussian": 100, "log-gaussian": 100, "profile": 150}
LABELS = {"star_2.center": "center", "light": "total"}
NARROW = 0.7


def settings_for(prior):
    """Return how scenes are sampled under the prior of a name."""
    return ss.RunSettings(sampler="hmc", chains=4, warmup=WARMUP[prior], draws=250, max_draws=0)


def make_model(prior="gaussian", inverse_variance=1.0):
    """Return the model of two galaxies and a star, on an observation that gives PSFs and noise alone.

    ``prior`` is one or the name of one.
    """
    prior = ss.load_prior(prior) if isinstance(prior, str) else prior
    y, x = np.indices((13, 13)) - 6
    psfs = np.stack([np.exp(-0.5 * (y**2 + x**2) / s**2) / (2 * np.pi * s**2) for s in SEEING])
    y, x = np.indices(SHAPE)
    spots = np.stack([np.exp(-0.5 * ((y - a) ** 2 + (x - b) ** 2) / 6) / (12 * np.pi) for a, b in CENTERS])
    images = np.einsum("kb,kyx->byx", np.asarray(FLUX.loc), spots)
    weights = np.full((len(BANDS), *SHAPE), inverse_variance)
    observation = make_observation(images, weights, psfs, BANDS, flux_unit="nJy")
    catalog = make_catalog(CENTERS, is_star=[False, False, True])
    scene = ss.initialize_scene(observation, catalog, box_sizes=(BOX,))
    return ss.Posterior(scene, observation, flux=FLUX, background=BACKGROUND, image=prior)


def rank_scene(seed, prior="gaussian"):
    """Simulate and sample one scene; return one row of ranks in (0, 1), and of what wrong error bars would give."""
    model = make_model(prior)
    least = np.array([LEAST[prior], LEAST[prior], -np.inf])
    exact, map_status, draws, uniform = simulate_scene(
        jax.random.key(seed), model, settings_for(prior), least, model
    )
    found = score_scene(uniform, exact, draws, least)
    row = {"seed": seed, "map": map_status} | {name: found[name] for name in ("kept", "r_hat", "ess")}
    for name, rank in found["others"].items():
        what, _, index = name.partition("[")
        row[f"{LABELS.get(what, what)}[{index}"] = rank
    wrong = score_scene(uniform, exact, narrowed(draws), least)
    numbers = {name: k for k, name in enumerate(draws.density.scene.objects)}
    for right, other in zip(found["fluxes"], wrong["fluxes"], strict=True):
        label = f"flux[{numbers[right['object']]},{BANDS.index(right['band'])}]"
        row |= {label: right["pit"], f"narrow {label}": other["pit"]}
    return row


def narrowed(draws):
    """Return draws whose errors of fluxes are 30 % too small: what ranks have to tell from right ones."""
    flux = draws.derived["flux"]
    middle = flux.mean(axis=(0, 1))
    return draws._replace(derived=draws.derived | {"flux": middle + NARROW * (flux - middle)})


def main(arguments=None):
    """Rank scenes and store a table, row by row, so that a run can be cut short and gone on with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=120)
    parser.add_argument("--prior", choices=sorted(STORED), default="gaussian")
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args(arguments)
    output = STORED[options.prior] if options.output is None else options.output
    rows = pd.read_csv(output).to_dict("records") if output.exists() else []
    for seed in range(len(rows), options.scenes):
        rows.append(rank_scene(seed, options.prior))
        print(*(f"{name} {rows[-1][name]:.4g}" for name in ("seed", "kept", "r_hat", "ess")), flush=True)
        pd.DataFrame(rows).to_csv(output, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
