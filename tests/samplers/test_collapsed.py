"""Collapsed equals joint: sampling images alone, or images and fluxes together, gives the same fluxes."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.density.posterior import MaximizedFluxes, Posterior
from scoresample.samplers.hmc import HMC
from scoresample.samplers.optimize import find_map
from scoresample.samplers.run import sample


class WithoutVolume(MaximizedFluxes):
    """The mistake of leaving out log det G: fluxes at their best while sampling, drawn afterwards."""

    def derive(self, key, position):
        return self.posterior.derive(key, position)

    def for_compilation(self):
        return WithoutVolume(self.posterior.for_compilation())


@pytest.fixture
def make_posterior(make_scene):
    """Faint galaxies, so that the volume of the fluxes matters, with a Normal prior on all fluxes."""
    scene, observation = make_scene(galaxies=True, background=False, brightness=0.3)
    return lambda collapse: Posterior(scene, observation, flux=dist.Normal(15, 50), collapse=collapse)


def moments(draws, errors_of_mean):
    """Mean and standard deviation of every flux and of every image's mean, with the Monte-Carlo error of each."""
    flux = np.asarray(draws.derived["flux"], float)
    images = np.stack([draws.position[f"galaxy_{k}.image"] for k in range(2)], axis=2).astype(float)
    values = np.concatenate([flux.reshape(*flux.shape[:2], -1), images.mean(axis=(3, 4))], axis=2)
    mean, mean_error, ess = errors_of_mean(values)
    assert ess > 200, f"only {ess:.0f} effective draws"
    variance, variance_error, _ = errors_of_mean((values - mean) ** 2)
    sd = np.sqrt(variance)
    return np.concatenate([mean, sd]), np.concatenate([mean_error, variance_error / (2 * sd)])


def difference_z(one, other):
    return np.abs((one[0] - other[0]) / np.hypot(one[1], other[1])).max()


def test_collapsed_fluxes_are_the_joint_ones(make_posterior, key, errors_of_mean):
    collapsed, joint = make_posterior(True), make_posterior(False)
    start = find_map(collapsed).position
    best = collapsed.amplitudes(start)
    full = start | {"galaxy_0.flux": best[:, 0], "galaxy_1.flux": best[:, 1]}
    keys = jax.random.split(key, 3)
    found = []
    for key_run, density, first in [
        (keys[0], collapsed, start),
        (keys[1], joint, full),
        (keys[2], WithoutVolume(collapsed), start),
    ]:
        draws = sample(
            key_run, density, HMC(), start=first, num_chains=4, num_warmup=150, num_draws=600, progress=False
        )
        found.append(moments(draws, errors_of_mean))
    assert difference_z(found[0], found[1]) < 5
    assert difference_z(found[2], found[1]) > 6
