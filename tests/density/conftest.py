"""A tiny two-band scene of two stars, and its columns in double precision."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.data.observation import make_observation
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.morphology import PointSource
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source

SHAPE = (13, 13)
CENTERS = np.array([[6.0, 4.7], [6.4, 7.2]])
FLUX = np.array([[60.0, 90.0], [40.0, 30.0]])


def gaussian(shape, center, sigma):
    y, x = np.indices(shape)
    out = np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / (2 * sigma**2))
    return out / out.sum()


@pytest.fixture
def make_scene(seed_shift):
    """Make (scene, observation): two stars, or with ``galaxies`` two galaxies, over a background or none."""

    def make(*, galaxies=False, background=True, dark=False, shape=SHAPE):
        rng = np.random.default_rng(4 + seed_shift)
        light = np.stack([gaussian(shape, center, 1.6 if galaxies else 1.2) for center in CENTERS])
        weights = rng.uniform(0.5, 2, (2, *shape))
        weights[:, 2, 3] = 0
        noise = rng.normal(size=weights.shape) / np.sqrt(np.maximum(weights, 0.1))
        images = np.einsum("kb,kyx->byx", FLUX, light) + 0.3 * background + noise
        psfs = [gaussian((7, 7), (3, 3), 1.2)] * 2
        observation = make_observation(images, weights, psfs, ["g", "r"], flux_unit="nJy")
        if dark:  # the data package refuses whole bands without data; boxes without data are what is meant
            zero = observation.inverse_variance.at[1].set(0)
            observation = eqx.tree_at(lambda o: o.inverse_variance, observation, zero)
        kind = "galaxy" if galaxies else "star"
        sources = tuple(
            make_source(
                f"{kind}_{k}",
                gaussian_morphology(7, 1.1) if galaxies else PointSource(),
                CENTERS[k],
                FLUX[k],
                box=7 if galaxies else 9,
            )
            for k in range(2)
        )
        return Scene(
            observation.frame, sources, jnp.zeros(2) if background else None, GaussianPSF(0.7)
        ), observation

    return make
