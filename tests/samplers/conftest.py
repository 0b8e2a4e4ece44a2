"""Tiny targets, and the moments of draws in units of their own Monte-Carlo errors."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size

from scoresample.data.observation import make_observation
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.morphology import PointSource
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source

SHAPE = (13, 13)
CENTERS = np.array([[6.0, 4.9], [6.3, 7.0]])
FLUX = np.array([[60.0, 90.0], [40.0, 30.0]])


def gaussian(shape, center, sigma):
    y, x = np.indices(shape)
    out = np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / (2 * sigma**2))
    return out / out.sum()


@pytest.fixture
def make_scene(seed_shift):
    """Make (scene, observation): two overlapping stars, or galaxies in boxes of 7 pixels."""

    def make(*, galaxies=False, background=True, brightness=1.0):
        rng = np.random.default_rng(11 + seed_shift)
        light = np.stack([gaussian(SHAPE, center, 1.7 if galaxies else 1.2) for center in CENTERS])
        images = np.einsum("kb,kyx->byx", brightness * FLUX, light) + rng.normal(size=(2, *SHAPE))
        psfs = [gaussian((7, 7), (3, 3), 1.2)] * 2
        observation = make_observation(images, np.ones_like(images), psfs, ["g", "r"], flux_unit="nJy")
        sources = tuple(
            make_source(f"galaxy_{k}", gaussian_morphology(7, 1.2), CENTERS[k], FLUX[k])
            if galaxies
            else make_source(f"star_{k}", PointSource(), CENTERS[k], FLUX[k], box=9)
            for k in range(2)
        )
        return Scene(
            observation.frame, sources, jnp.zeros(2) if background else None, GaussianPSF(0.7)
        ), observation

    return make


@pytest.fixture(scope="session")
def errors_of_mean():
    """Return the function: (chain, draw, n) to means of the n quantities, their standard errors, least ESS."""

    def measure(values):
        values = np.asarray(values, float)
        flat = values.reshape(*values.shape[:2], -1)
        ess = np.minimum(effective_sample_size(flat), flat.shape[0] * flat.shape[1])
        return flat.mean(axis=(0, 1)), flat.std(axis=(0, 1)) / np.sqrt(ess), ess.min()

    return measure


@pytest.fixture(scope="session")
def largest_z(errors_of_mean):
    """Return the function: worst deviation of means and all second moments from a claimed Gaussian.

    In the coordinates in which the claim is a standard normal, in units of each moment's own Monte-Carlo error.
    """

    def measure(values, mean, covariance, least_ess=300):
        values = np.asarray(values, float)
        values = values.reshape(*values.shape[:2], -1)
        white = np.einsum("ij,cdj->cdi", np.linalg.inv(np.linalg.cholesky(covariance)), values - mean)
        i, j = np.triu_indices(white.shape[2])
        moments = np.concatenate([white, white[..., i] * white[..., j] - (i == j)], axis=2)
        average, error, ess = errors_of_mean(moments)
        assert ess > least_ess, f"only {ess:.0f} effective draws"
        return np.abs(average / error).max()

    return measure
