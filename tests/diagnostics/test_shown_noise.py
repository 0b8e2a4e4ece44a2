"""The noise of a prior against that of the data."""

import numpy as np
import pytest

from scoresample.data.observation import make_observation
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.shown_noise import shown_noise
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.load import load_prior
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source


@pytest.fixture(scope="module")
def make_posterior():
    """One galaxy in two bands, on noise of 2 and 4 a pixel."""

    def make(prior):
        rng = np.random.default_rng(1)
        y, x = np.indices((24, 24)) - 11.5
        light = np.exp(-(y**2 + x**2) / (2 * 2.0**2))
        sigma = np.array([2.0, 4.0])[:, None, None]
        psf = np.exp(-((np.indices((9, 9)) - 4) ** 2).sum(axis=0) / (2 * 1.2**2))
        images = 40 * light + sigma * rng.normal(size=(2, 24, 24))
        observation = make_observation(
            images,
            np.broadcast_to(sigma**-2.0, images.shape),
            [psf / psf.sum()] * 2,
            ["g", "r"],
            flux_unit="nJy",
        )
        source = make_source("galaxy_0", gaussian_morphology(17, 1.6), (11.5, 11.5), (1000.0, 1000.0), box=17)
        scene = Scene(observation.frame, (source,), None, GaussianPSF(0.7))
        return Posterior(scene, observation, image=prior)

    return make


def test_it_is_the_scatter_of_a_pixel(make_posterior):
    posterior = make_posterior(load_prior("galaxies", hides_noise=False))
    position = posterior.initial_position()
    brightness = np.asarray(posterior.brightness(position))[:, 0]
    scatter = 0.1 * 0.3 * brightness / np.array([2.0, 4.0])
    assert shown_noise(posterior, position)["galaxy_0"] == pytest.approx(np.linalg.norm(scatter), rel=1e-3)
    louder = make_posterior(load_prior("galaxies", noise_level=0.6, hides_noise=False))
    assert shown_noise(louder, position)["galaxy_0"] == pytest.approx(2 * np.linalg.norm(scatter), rel=1e-3)


@pytest.mark.parametrize("prior", ["galaxies", "gaussian"])
def test_hidden_noise_and_other_priors_have_none(make_posterior, prior):
    posterior = make_posterior(load_prior(prior))
    assert shown_noise(posterior, posterior.initial_position()) == {}
