"""Priors of users: only a score, in u or in S, for one shape; and priors as numpyro distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.util import log_density

from scoresample.errors import ConfigError, ScoreOnlyError, ShapeError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.morphology import to_morphology
from scoresample.models.priors_as_distributions import PriorDistribution
from scoresample.models.score_prior import ScorePrior

SHAPE = (6, 5)


def log_prob_of_s(morphology):
    """A density of S: independent gammas of S + 1."""
    return jnp.sum(3 * jnp.log(morphology + 1) - 2 * (morphology + 1))


def test_a_score_of_s_becomes_that_of_u_with_its_jacobian(key):
    prior = ScorePrior(jax.grad(log_prob_of_s), SHAPE, coordinate="S")
    u = 4 * jax.random.normal(key, SHAPE)

    def log_prob_of_u(u, jacobian=True):
        slope = jax.vmap(jax.grad(to_morphology))(u.ravel())
        return log_prob_of_s(to_morphology(u)) + jacobian * jnp.sum(jnp.log(slope))

    np.testing.assert_allclose(prior.score(u), jax.grad(log_prob_of_u)(u), rtol=1e-4, atol=1e-5)
    without = jax.grad(log_prob_of_u)(u, False)
    assert np.abs(prior.score(u) - without).min() > 0.09  # what is often left out: 0.1 for every pixel


def test_a_score_of_u_is_used_as_it_stands(key):
    prior = ScorePrior(lambda u: -u, SHAPE, 0.14, name="mine")
    u = jax.random.normal(key, SHAPE)
    np.testing.assert_array_equal(prior.score(u), -u)
    assert (prior.noise_level, prior.name) == (0.14, "mine")
    assert not hasattr(prior, "log_prob")


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="coordinate is 'x'; it must be 'u' or 'S'"):
        ScorePrior(jnp.negative, SHAPE, coordinate="x")
    with pytest.raises(ConfigError, match="noise_level is -1"):
        ScorePrior(jnp.negative, SHAPE, -1.0)
    with pytest.raises(ShapeError, match=r"gives \(\) for an image of shape \(6, 5\)"):
        ScorePrior(jnp.sum, SHAPE)
    with pytest.raises(ShapeError, match=r"images of shape \(6, 5\), not \(6, 6\)"):
        ScorePrior(jnp.negative, SHAPE).for_shape((6, 6))
    with pytest.raises(ShapeError, match=r"shape is \(6, 0\)"):
        ScorePrior(jnp.negative, (6, 0))


def test_a_numpyro_model_can_have_an_image_as_a_site(key):
    prior = load_gaussian_prior()

    def model(data):
        u = numpyro.sample("galaxy", PriorDistribution(prior, SHAPE))
        flux = numpyro.sample("flux", dist.Normal(3.0, 1.0))
        numpyro.sample("data", dist.Normal(flux * to_morphology(u), 0.5).to_event(2), obs=data)

    u = prior.sample(key, SHAPE, 1)[0]
    data, flux = jnp.ones(SHAPE), jnp.asarray(2.0)
    found, _ = log_density(model, (data,), {}, {"galaxy": u, "flux": flux})
    expected = prior.log_prob(u) + dist.Normal(3.0, 1.0).log_prob(flux)
    expected += dist.Normal(flux * to_morphology(u), 0.5).log_prob(data).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    sampler = numpyro.infer.MCMC(
        numpyro.infer.NUTS(model, max_tree_depth=4), num_warmup=5, num_samples=5, progress_bar=False
    )
    sampler.run(key, data)
    assert sampler.get_samples()["galaxy"].shape == (5, *SHAPE)


def test_draws_and_densities_come_in_batches(key):
    site = PriorDistribution(load_gaussian_prior(), SHAPE)
    draws = site.sample(key, (2, 3))
    assert draws.shape == (2, 3, *SHAPE) and site.event_shape == SHAPE
    np.testing.assert_allclose(site.log_prob(draws)[1, 2], site.prior.log_prob(draws[1, 2]), rtol=1e-5)


def test_a_score_is_not_enough_for_numpyro():
    with pytest.raises(ScoreOnlyError, match="prior 'score' gives only a score"):
        PriorDistribution(ScorePrior(jnp.negative, SHAPE), SHAPE)
