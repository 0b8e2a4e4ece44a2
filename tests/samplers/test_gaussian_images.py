"""A linear observation of an image with the Gaussian morphology prior: its posterior is known in closed form."""

import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.density.base import Density
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.samplers.hmc import HMC, NUTS
from scoresample.samplers.laplace import Laplace
from scoresample.samplers.optimize import find_map
from scoresample.samplers.run import sample

SHAPE = (5, 5)


@pytest.fixture
def linear_scene(seed_shift):
    """Prior, density, and the exact mean and covariance of the raveled image."""
    rng = np.random.default_rng(seed_shift)
    prior = load_gaussian_prior().for_shape(SHAPE)
    design = rng.normal(size=(12, 25)) / 5
    truth = np.asarray(prior.mean, float).ravel() + np.linalg.cholesky(prior.covariance()) @ rng.normal(
        size=25
    )
    weight = rng.uniform(2, 20, 12)
    data = design @ truth + rng.normal(size=12) / np.sqrt(weight)
    matrix, seen, inverse_variance = jnp.asarray(design), jnp.asarray(data), jnp.asarray(weight)

    def log_prob(position):
        u = position["u"]
        return prior.log_prob(u) - 0.5 * jnp.sum(inverse_variance * (seen - matrix @ u.ravel()) ** 2)

    return prior, Density(log_prob=log_prob), prior.posterior(design, data, weight)


def projections(draws, seed_shift):
    axes = np.random.default_rng(9 + seed_shift).normal(size=(4, 25))
    flat = np.asarray(draws.position["u"], float)
    return flat.reshape(*flat.shape[:2], 25) @ axes.T, axes


@pytest.mark.parametrize("sampler", [NUTS(), HMC(), Laplace()], ids=lambda s: s.name)
def test_projections_have_the_closed_form_moments(linear_scene, key, largest_z, seed_shift, sampler):
    prior, density, (mean, covariance) = linear_scene
    start = {"u": jnp.asarray(mean.reshape(SHAPE), prior.mean.dtype)}
    draws = sample(
        key, density, sampler, start=start, num_chains=4, num_warmup=400, num_draws=700, progress=False
    )
    found, axes = projections(draws, seed_shift)
    assert largest_z(found, axes @ mean, axes @ covariance @ axes.T) < 5
    assert largest_z(found, axes @ mean, axes @ (1.3 * covariance) @ axes.T) > 5
    assert largest_z(found, axes @ np.ravel(prior.mean), axes @ prior.covariance() @ axes.T) > 10


def test_the_map_is_the_posterior_mean(linear_scene):
    prior, density, (mean, covariance) = linear_scene
    best = find_map(density, {"u": prior.mean}, tolerance=1e-3)
    assert best.status == "converged"
    deviations = np.linalg.solve(np.linalg.cholesky(covariance), np.ravel(best.position["u"]) - mean)
    assert np.abs(deviations).max() < 0.05
