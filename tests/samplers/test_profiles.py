"""Sources with analytic profiles are sampled like all others: sizes, indices, shapes and centers are found."""

import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.data.observation import make_observation
from scoresample.density.posterior import Posterior
from scoresample.models.morphology import GaussianProfile, SersicProfile
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source
from scoresample.samplers.hmc import HMC
from scoresample.samplers.optimize import find_map
from scoresample.samplers.run import sample

FLUX = np.array([[900.0, 1500.0], [400.0, 300.0]])
SERSIC = {"half_light_radius": 2.2, "sersic_index": 1.6, "ellipticity": np.array([0.25, -0.1])}
GAUSSIAN = {"sigma": 1.4, "ellipticity": np.array([-0.2, 0.15])}
CENTERS = np.array([[11.2, 9.7], [15.8, 16.1]])


def make_sources(sersic, gaussian, centers):
    as_arrays = lambda values: {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
    return (
        make_source("disk", SersicProfile(**as_arrays(sersic)), centers[0], FLUX[0], box=21),
        make_source("blob", GaussianProfile(**as_arrays(gaussian)), centers[1], FLUX[1], box=21),
    )


@pytest.fixture
def problem(seed_shift):
    """The posterior of two profiles that start from round ones at rounded positions, and the true values."""
    rng = np.random.default_rng(3 + seed_shift)
    psf = np.exp(-0.5 * ((np.indices((13, 13)) - 6) ** 2).sum(axis=0) / 1.5**2)
    blank = make_observation(
        rng.normal(size=(2, 27, 27)), np.ones((2, 27, 27)), [psf / psf.sum()] * 2, ["g", "r"], flux_unit="nJy"
    )
    true = Scene(blank.frame, make_sources(SERSIC, GAUSSIAN, CENTERS), jnp.zeros(2), GaussianPSF(0.7))
    at_truth = Posterior(true, blank)
    images = np.asarray(at_truth.columns(true.parameters), float)[:2]
    light = np.einsum("kb,kbp->bp", FLUX, images).reshape(2, 27, 27)
    observation = make_observation(
        np.asarray(blank.images) + light, np.ones((2, 27, 27)), blank.psfs, ["g", "r"], flux_unit="nJy"
    )
    round_ones = make_sources(
        SERSIC | {"half_light_radius": 3.0, "sersic_index": 2.5, "ellipticity": np.zeros(2)},
        GAUSSIAN | {"sigma": 2.0, "ellipticity": np.zeros(2)},
        np.round(CENTERS),
    )
    return Posterior(Scene(blank.frame, round_ones, jnp.zeros(2), GaussianPSF(0.7)), observation), true


def test_profiles_are_found_with_errors_that_hold(problem, key):
    posterior, true = problem
    best = find_map(posterior, progress=False)
    draws = sample(
        key,
        posterior,
        HMC(),
        start=best.position,
        num_chains=4,
        num_warmup=200,
        num_draws=400,
        progress=False,
    )
    assert best.status == "converged" and draws.status == "done"
    pulls = [(draws.derived["flux"].mean(axis=(0, 1)) - FLUX) / draws.derived["flux"].std(axis=(0, 1))]
    for parameter in posterior.parameters:
        values = np.asarray(parameter.constrain(jnp.asarray(draws.position[parameter.name])), float)
        sd = values.std(axis=(0, 1))
        pulls.append((values.mean(axis=(0, 1)) - np.asarray(true.parameters[parameter.name])) / sd)
        assert np.all(sd < 0.35), parameter.name  # the data, not the prior, say so
    pulls = np.concatenate([np.ravel(pull) for pull in pulls])
    assert len(pulls) == 4 + 2 * 2 + 4 + 3
    assert np.abs(pulls).max() < 4 and 0.4 < np.sqrt(np.mean(pulls**2)) < 1.6
