"""What the climb to the MAP holds against fluxes that cancel."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.density.local_scale import scatter_cost
from scoresample.density.maximized_fluxes import MaximizedFluxes, maximized_fluxes
from scoresample.density.posterior import Posterior
from scoresample.models.gaussian_prior import load_gaussian_prior


@pytest.fixture
def posterior(make_scene):
    return Posterior(*make_scene(galaxies=True, background=True), image=load_gaussian_prior())


def test_the_cost_of_scatter_is_that_of_scattered_images(posterior):
    """By the derivatives of the model: a pixel of variance v adds v times the squares of its image."""
    position = posterior.initial_position()
    brightness = np.asarray(posterior.brightness(position), float)
    cost = scatter_cost(posterior, position)
    weight = np.asarray(posterior.likelihood.root_weight, float) ** 2
    for index in range(2):
        name = f"galaxy_{index}.image"

        def column(image, name=name, index=index):
            return posterior.columns(posterior.values(position | {name: image}))[index]

        slopes = np.asarray(jax.jacobian(column)(position[name]), float)
        squares = np.einsum("bp,bpyx->byx", weight, slopes**2).reshape(len(weight), -1)
        known = np.asarray(posterior.parameters[index].scale().diagonal, float) ** -2
        variance = 1 / (known + brightness[:, index] ** 2 @ squares)
        np.testing.assert_allclose(cost[:, index], squares @ variance, rtol=0.05)
    assert np.all(cost[:, 2] == 0)


def test_fluxes_that_cancel_are_held(make_scene):
    """Two galaxies come to one place with all but one image: the restraint tells that from the scene as it is."""
    scene, observation = make_scene(galaxies=True, background=True)
    usual = maximized_fluxes(Posterior(scene, observation, image=load_gaussian_prior()))
    together = scene.replace({"galaxy_1.center": scene.parameters["galaxy_0.center"] + 0.01})
    alike = Posterior(together, observation, image=load_gaussian_prior())
    alike = MaximizedFluxes(alike, usual.restraint, usual.positive)

    def held(density):
        free = MaximizedFluxes(density.posterior, *map(jnp.zeros_like, (density.restraint, density.positive)))
        position = density.posterior.initial_position()
        return float(free.log_prob(position) - density.log_prob(position))

    num_seen = sum(parameter.shape[0] * parameter.shape[1] for parameter in usual.posterior.parameters)
    assert held(usual) < 0.5 * num_seen
    assert held(alike) > 3 * held(usual)


@pytest.mark.parametrize("sign", [1, -1])
def test_negative_fluxes_cost_by_their_errors_and_positive_ones_nothing(make_scene, sign):
    scene, observation = make_scene(galaxies=True, background=True)
    observation = eqx.tree_at(lambda o: o.images, observation, sign * observation.images)
    density = maximized_fluxes(Posterior(scene, observation, image=load_gaussian_prior()))
    free = MaximizedFluxes(density.posterior, density.restraint, jnp.zeros_like(density.positive))
    position = density.posterior.initial_position()
    cost = float(free.log_prob(position) - density.log_prob(position))
    columns = density.posterior.columns(density.posterior.values(position))
    held = density.restraint[:, :, None] * jnp.eye(len(columns))
    flux_prior = density.posterior.flux_prior
    fit = density.posterior.likelihood.solve(columns, flux_prior.mean, flux_prior.precision + held)
    expected = 0.5 * np.sum(np.minimum(np.asarray(fit.mean / fit.unit)[:, :2], 0) ** 2)
    np.testing.assert_allclose(cost, expected, rtol=1e-3, atol=1e-2)
    assert (cost > 10) == (sign < 0)


def test_fluxes_with_a_prior_need_no_restraint(make_scene):
    scene, observation = make_scene(galaxies=True, background=True)
    assert np.all(
        maximized_fluxes(
            Posterior(scene, observation, flux=dist.Normal(50, 30), image=load_gaussian_prior())
        ).restraint
        == 0
    )
