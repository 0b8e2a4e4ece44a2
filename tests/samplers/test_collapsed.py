"""Collapsed equals joint: sampling images alone, or images and fluxes together, gives the same fluxes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.density.maximized_fluxes import MaximizedFluxes, maximized_fluxes
from scoresample.density.posterior import Posterior
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.samplers.hmc import HMC
from scoresample.samplers.optimize import find_map
from scoresample.samplers.run import sample


class WithoutVolume(MaximizedFluxes):
    """The mistake of leaving out log det G: fluxes at their best while sampling, drawn afterwards."""

    def derive(self, key, position):
        return self.posterior.derive(key, position)


@pytest.fixture
def make_posterior(make_scene):
    """Faint galaxies, so that the volume of the fluxes matters, with a Normal prior on fluxes, a flat one on sky."""
    scene, observation = make_scene(galaxies=True, background=True, brightness=0.3)
    return lambda collapse: Posterior(
        scene, observation, flux=dist.Normal(15, 50), collapse=collapse, image=load_gaussian_prior()
    )


def moments(draws, errors_of_mean):
    """Mean, sd and correlations of every flux and background and of every image's mean, with Monte-Carlo errors."""
    flux = np.asarray(draws.derived["flux"], float)
    images = np.stack([draws.position[f"galaxy_{k}.image"] for k in range(2)], axis=2).astype(float)
    parts = [flux.reshape(*flux.shape[:2], -1), draws.derived["background"], images.mean(axis=(3, 4))]
    values = np.concatenate(parts, axis=2)
    mean, mean_error, ess = errors_of_mean(values)
    assert ess > 200, f"only {ess:.0f} effective draws"
    sd = values.std(axis=(0, 1))
    white = (values - mean) / sd
    i, j = np.triu_indices(white.shape[2])
    product, product_error, _ = errors_of_mean(white[..., i] * white[..., j])
    product = np.where(i == j, sd[i], product)
    product_error = np.where(i == j, 0.5 * sd[i] * product_error, product_error)
    return np.concatenate([mean, product]), np.concatenate([mean_error, product_error])


def difference_z(one, other):
    return np.abs((one[0] - other[0]) / np.hypot(one[1], other[1])).max()


def test_collapsed_fluxes_are_the_joint_ones(make_posterior, key, errors_of_mean):
    collapsed, joint = make_posterior(True), make_posterior(False)
    start = find_map(collapsed).position
    best = collapsed.amplitudes(start)
    full = start | {"galaxy_0.flux": best[:, 0], "galaxy_1.flux": best[:, 1], "background": best[:, 2]}
    keys = jax.random.split(key, 3)
    found, climbed = [], maximized_fluxes(collapsed)
    for key_run, density, first in [
        (keys[0], collapsed, start),
        (keys[1], joint, full),
        (keys[2], WithoutVolume(collapsed, climbed.restraint, jnp.zeros_like(climbed.positive)), start),
    ]:
        draws = sample(
            key_run, density, HMC(), start=first, num_chains=4, num_warmup=150, num_draws=600, progress=False
        )
        found.append(moments(draws, errors_of_mean))
    assert difference_z(found[0], found[1]) < 5
    assert difference_z(found[2], found[1]) > 6
