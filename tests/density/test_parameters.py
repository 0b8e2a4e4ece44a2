"""Parameters on the real line: densities with their Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.density.parameters import Parameter
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.priors_numpyro import FlatPrior, as_prior

PRIORS = {
    "normal": dist.Normal(1.0, 2.0),
    "log-normal": dist.LogNormal(0.5, 0.6),
    "uniform": dist.Uniform(0.5, 6.0),
    "truncated": dist.TruncatedNormal(0.0, 0.3, low=-0.7, high=0.7),
    "half-normal": dist.HalfNormal(3.0),
}
WITH_BOUNDS = [name for name in PRIORS if name != "normal"]
GRID = np.linspace(-30, 30, 60_001)


def integral(parameter, with_jacobian):
    """Integral over the real line of the density of the unconstrained coordinate."""

    def log_prob(x):
        return parameter.log_prob(x) if with_jacobian else parameter.prior.log_prob(parameter.constrain(x))

    return float(
        np.sum(np.exp(np.asarray(jax.vmap(log_prob)(jnp.asarray(GRID)), float))) * (GRID[1] - GRID[0])
    )


@pytest.mark.parametrize("name", PRIORS)
def test_density_of_the_unconstrained_coordinate_integrates_to_one(name):
    assert abs(integral(Parameter("x", as_prior(PRIORS[name]), ()), True) - 1) < 1e-3


@pytest.mark.parametrize("name", WITH_BOUNDS)
def test_that_test_sees_a_missing_jacobian(name):
    assert not abs(integral(Parameter("x", as_prior(PRIORS[name]), ()), False) - 1) < 0.05


@pytest.mark.parametrize("name", PRIORS)
def test_constrain_undoes_unconstrain(name):
    parameter = Parameter("x", as_prior(PRIORS[name]), (3,))
    value = jnp.asarray([0.51, 0.6, 0.65])
    np.testing.assert_allclose(parameter.constrain(parameter.unconstrain(value)), value, rtol=1e-5)


def test_centers_are_displacements_from_the_detection():
    parameter = Parameter("star.center", as_prior(dist.Normal(0, 0.3), np.array([6.0, 7.5])), (2,))
    x = parameter.unconstrain(jnp.array([6.3, 7.5]))
    expected = dist.Normal(0, 0.3).log_prob(jnp.array([0.3, 0.0])).sum()
    np.testing.assert_allclose(parameter.log_prob(x), expected, rtol=1e-4)


def test_bounded_displacements_stay_within_bounds_of_the_detection():
    parameter = Parameter("star.center", as_prior(dist.Uniform(-1, 1), np.array([6.0, 7.5])), (2,))
    inside = parameter.constrain(jnp.array([-40.0, 40.0]))
    np.testing.assert_allclose(inside, [5.0, 8.5], atol=1e-4)


def test_images_have_no_map_and_flat_priors_no_slope():
    image = Parameter("galaxy.image", load_gaussian_prior().for_shape((5, 5)), (5, 5))
    u = jnp.arange(25.0).reshape(5, 5) / 10
    np.testing.assert_array_equal(image.constrain(u), u)
    np.testing.assert_allclose(image.log_prob(u), image.prior.log_prob(u))
    flat = Parameter("star.flux", FlatPrior(jnp.array([2.0, 3.0])), (2,))
    assert float(flat.log_prob(jnp.array([1e6, -1e6]))) == 0
    np.testing.assert_allclose(flat.scale().diagonal, [2, 3])


def test_it_prints_name_shape_and_kind():
    assert str(Parameter("star_1.center", as_prior(dist.Normal(0, 0.3)), (2,))) == (
        "star_1.center: Normal(0, 0.3) (2, log_prob)"
    )
    text = str(Parameter("galaxy_0.image", load_gaussian_prior().for_shape((9, 7)), (9, 7)))
    assert text == "galaxy_0.image: gaussian (9 x 7, noise_level 0.14, log_prob)"
