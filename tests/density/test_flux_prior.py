"""Priors on fluxes: flat, Gaussian, positive, and of components."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.density.posterior import Posterior
from scoresample.errors import ConfigError


def test_flat_and_normal_priors_are_integrated_out_and_others_sampled(make_scene):
    scene, observation = make_scene()
    assert Posterior(scene, observation).collapse
    assert Posterior(scene, observation, flux=dist.Normal(0, 100)).collapse
    assert not Posterior(scene, observation, flux=dist.HalfNormal(100.0)).collapse
    assert not Posterior(scene, observation, collapse=False).collapse
    with pytest.raises(
        ConfigError, match=r"flat or Normal priors, got HalfNormal\(100\); pass collapse=False"
    ):
        Posterior(scene, observation, flux=dist.HalfNormal(100.0), collapse=True)


def test_a_normal_prior_pulls_fluxes_to_its_mean(make_scene):
    scene, observation = make_scene()
    loc, scale = np.array([[10.0, 20.0], [30.0, 40.0]]), np.array([[2.0, 3.0], [4.0, 5.0]])
    posterior = Posterior(scene, observation, flux=dist.Normal(loc, scale), center=None)
    columns = np.asarray(posterior.likelihood.columns(posterior.values({})), float)
    weight = np.asarray(posterior.likelihood.root_weight, float) ** 2
    data = np.asarray(posterior.likelihood.data, float)
    for b in range(2):
        precision = np.append(scale[:, b] ** -2, 0)
        gram = (columns[:, b] * weight[b]) @ columns[:, b].T + np.diag(precision)
        right = columns[:, b] @ (weight[b] * data[b]) + precision * np.append(loc[:, b], 0)
        np.testing.assert_allclose(posterior.amplitudes({})[b], np.linalg.solve(gram, right), rtol=1e-3)


def test_narrow_priors_win_and_wide_ones_are_flat(make_scene):
    scene, observation = make_scene()
    flat = Posterior(scene, observation, center=None).amplitudes({})
    wide = Posterior(scene, observation, flux=dist.Normal(0, 1e6), center=None).amplitudes({})
    narrow = Posterior(scene, observation, flux=dist.Normal(7, 1e-3), center=None).amplitudes({})
    np.testing.assert_allclose(wide, flat, rtol=1e-4)
    np.testing.assert_allclose(narrow[:, :2], 7, rtol=1e-3)


ROWS = np.array([[0.1, 0.2], [0.3, 0.4]])
SAMPLED = {
    "one for all": dist.Normal(50.0, 30.0),
    "one for each": dist.Normal(100 * ROWS, 5.0),
    "by source": dist.LogNormal(ROWS[:, :1], 1.0),
    "by band": dist.TruncatedNormal(ROWS[0], 3.0, low=0.0),
    "expanded": dist.Gamma(2.0, 3.0).expand((2, 2)),
    "bounded": dist.Uniform(0.0, 100 * ROWS),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_fluxes_have_the_prior_density(make_scene, name):
    scene, observation = make_scene(background=False)
    prior = SAMPLED[name]
    posterior = Posterior(scene, observation, flux=prior, collapse=False, center=None)
    value = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    parts = posterior.parameters
    found = sum(p.prior.log_prob(row) for p, row in zip(parts, value, strict=True))
    np.testing.assert_allclose(float(found), float(jnp.sum(prior.log_prob(value))), rtol=1e-4)
    position = {p.name: p.unconstrain(row) for p, row in zip(parts, value, strict=True)}
    np.testing.assert_allclose(posterior.given_amplitudes(position), value.T, rtol=1e-4)
    assert np.all(np.isfinite(posterior.parameters[0].scale().diagonal))


def test_a_prior_without_arguments_is_refused(make_scene):
    odd = dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.ExpTransform())
    with pytest.raises(ConfigError, match="cannot be a prior on fluxes"):
        Posterior(*make_scene(), flux=odd)


def test_sampled_fluxes_come_in_the_order_of_the_columns(make_scene):
    scene, observation = make_scene()
    prior = dist.Normal(np.array([[10.0, 20.0], [30.0, 40.0]]), 5.0)
    posterior = Posterior(scene, observation, flux=prior, collapse=False, center=None)
    position = {
        "star_0.flux": jnp.array([1.0, 2.0]),
        "star_1.flux": jnp.array([3.0, 4.0]),
        "background": jnp.ones(2),
    }
    exact = float(prior.log_prob(jnp.array([[1.0, 2.0], [3.0, 4.0]])).sum())
    np.testing.assert_allclose(float(posterior.explicit_prior(position)), exact, rtol=1e-5)
    np.testing.assert_allclose(posterior.given_amplitudes(position), [[1, 3, 1], [2, 4, 1]])


def test_positive_priors_start_inside_their_support(make_scene):
    scene, observation = make_scene()
    negative = dataclasses.replace(observation, images=-observation.images)
    posterior = Posterior(scene, negative, flux=dist.LogNormal(3.0, 1.0))
    position = posterior.initial_position()
    assert all(bool(jnp.all(jnp.isfinite(value))) for value in position.values())
    assert bool(jnp.all(posterior.given_amplitudes(position)[:, :2] > 0))
    assert np.isfinite(float(posterior.log_prob(position)))
