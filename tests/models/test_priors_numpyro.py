"""Numpyro distributions as priors: densities on the unconstrained line, maps, draws, displacements."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.models.priors_numpyro import (
    DistributionPrior,
    FlatPrior,
    as_prior,
    default_shape_priors,
    describe,
)

DISTRIBUTIONS = {
    "normal": dist.Normal(0.5, 0.3),
    "log-normal": dist.LogNormal(0.9, 0.6),
    "uniform": dist.Uniform(0.5, 6.0),
    "truncated": dist.TruncatedNormal(0.0, 0.3, low=-0.7, high=0.7),
    "half-normal": dist.HalfNormal(2.0),
    "beta": dist.Beta(2.0, 3.0),
}


def mass(prior, with_jacobian=True):
    """Integrate the density over the unconstrained line."""
    grid = jnp.linspace(-25, 25, 20_001)

    def density(position):
        value, log_jacobian = prior.to_constrained(position)
        # Where a sigmoid is 1 in single precision, the value is on the edge of the support and the density 0.
        log_prob = prior.log_prob(value) + with_jacobian * log_jacobian
        return jnp.where(jnp.isfinite(log_prob), jnp.exp(log_prob), 0)

    return float(np.trapezoid(np.asarray(jax.jit(jax.vmap(density))(grid), float), grid))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_density_on_the_line_integrates_to_one(name):
    assert abs(mass(as_prior(DISTRIBUTIONS[name])) - 1) < 2e-3


def test_without_the_jacobian_it_does_not():
    assert abs(mass(as_prior(DISTRIBUTIONS["uniform"]), with_jacobian=False) - 1) > 1


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_there_and_back(name, key):
    prior = as_prior(DISTRIBUTIONS[name])
    values = prior.sample(key, (50,), 1)[0]
    positions = jax.jit(prior.to_unconstrained)(values)
    again, log_jacobian = jax.jit(prior.to_constrained)(positions)
    np.testing.assert_allclose(again, values, rtol=1e-4, atol=1e-5)
    slopes = jax.jit(jax.vmap(jax.grad(lambda p: prior.to_constrained(p)[0])))(positions)
    np.testing.assert_allclose(log_jacobian, jnp.sum(jnp.log(jnp.abs(slopes))), rtol=1e-3, atol=1e-3)


def test_elements_are_independent(key):
    prior = as_prior(dist.Normal(1.0, 2.0))
    values = prior.sample(key, (3, 4), 5)
    assert values.shape == (5, 3, 4) and len(np.unique(values)) == 60
    np.testing.assert_allclose(
        prior.log_prob(values[0]), dist.Normal(1, 2).log_prob(values[0]).sum(), rtol=1e-6
    )
    np.testing.assert_allclose(prior.score(values[0]), -(values[0] - 1) / 4, rtol=1e-5, atol=1e-6)


def test_displacements_are_measured_from_the_detection(key):
    around = jnp.array([12.3, 40.1])
    prior = as_prior(dist.Normal(0.0, 0.3), around=around)
    value = jnp.array([12.0, 40.5])
    np.testing.assert_allclose(
        prior.log_prob(value), dist.Normal(0, 0.3).log_prob(value - around).sum(), rtol=1e-4
    )
    draws = prior.sample(key, (2,), 4000)
    assert draws.shape == (4000, 2)
    assert np.abs(draws.mean(0) - around).max() < 5 * 0.3 / np.sqrt(4000)
    np.testing.assert_allclose(prior.to_unconstrained(value), value, rtol=1e-6)
    assert prior.name == "Normal(0, 0.3) around the detection"
    assert abs(prior.log_prob(value - around)) > 1000  # negative control


def test_bounded_displacements_stay_in_bounds():
    prior = as_prior(dist.Uniform(-0.5, 0.5), around=jnp.array([10.0, 20.0]))
    value, _ = prior.to_constrained(jnp.array([-30.0, 30.0]))
    np.testing.assert_allclose(value, [9.5, 20.5], atol=1e-4)
    middle, log_jacobian = prior.to_constrained(jnp.zeros(2))
    np.testing.assert_allclose(middle, [10, 20], atol=1e-5)
    np.testing.assert_allclose(log_jacobian, 2 * np.log(0.25), rtol=1e-5)  # a sigmoid's slope in the middle
    np.testing.assert_allclose(prior.log_prob(middle), 0, atol=1e-5)
    positive = as_prior(dist.HalfNormal(1.0), around=jnp.array([3.0]))
    assert float(positive.to_constrained(jnp.array([-4.0]))[0][0]) > 3


@pytest.mark.parametrize("name", ["normal", "log-normal"])
def test_scales_are_the_spread_on_the_line(name):
    scale = as_prior(DISTRIBUTIONS[name]).scale((4,))
    np.testing.assert_allclose(scale.diagonal, {"normal": 0.3, "log-normal": 0.6}[name], rtol=0.12)
    assert scale.size == 4


def test_priors_stay_themselves():
    prior = DistributionPrior(dist.Normal(0.0, 1.0), "mine")
    assert as_prior(prior) is prior and prior.noise_level == 0


def test_the_flat_prior_has_a_pace_but_no_draws(key):
    prior = FlatPrior(jnp.array([2.0, 3.0]))
    assert float(prior.log_prob(jnp.array([1e9, -5.0]))) == 0
    np.testing.assert_array_equal(prior.score(jnp.array([1.0, 2.0])), 0)
    np.testing.assert_array_equal(prior.scale((2,)).diagonal, [2, 3])
    with pytest.raises(NotImplementedError, match="a flat prior has no draws"):
        prior.sample(key, (2,), 1)


def test_default_priors_and_their_names():
    named = {name: describe(prior) for name, prior in default_shape_priors().items()}
    assert named["center"] == "Normal(0, 0.3)" and named["sersic_index"] == "Uniform(0.5, 6)"
    assert set(named) == {"center", "half_light_radius", "sigma", "sersic_index", "ellipticity"}
    assert describe(dist.Normal(jnp.zeros(2), 1.0)) == "Normal(..., 1)"
