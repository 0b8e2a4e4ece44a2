"""Data gain against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.data.observation import make_observation
from scoresample.density.base import Density
from scoresample.density.posterior import Posterior
from scoresample.diagnostics.data_gain import data_gain
from scoresample.errors import ConfigError, DataError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.log_gaussian_prior import load_log_gaussian_prior
from scoresample.models.profile_prior import load_profile_prior
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source
from scoresample.samplers.base import Draws

SHAPE = (14, 14)
CHAINS, STEPS = 4, 100


def make_posterior(**settings):
    y, x = np.indices((7, 7)) - 3
    psf = np.exp(-0.5 * (y**2 + x**2) / 1.2**2)
    observation = make_observation(
        np.zeros((2, *SHAPE)), np.ones((2, *SHAPE)), [psf / psf.sum()] * 2, ["g", "r"], flux_unit="nJy"
    )
    settings = {"image": load_gaussian_prior()} | settings
    flux = np.array([30.0, 50.0])
    sources = (
        make_source("galaxy_0", gaussian_morphology(7, 1.6), np.array([4.0, 4.0]), flux),
        make_source("galaxy_1", gaussian_morphology(7, 1.6), np.array([8.0, 8.0]), flux, parent="galaxy_1"),
        make_source(
            "galaxy_1_core", gaussian_morphology(5, 1.0), np.array([8.0, 8.0]), flux, parent="galaxy_1"
        ),
    )
    return Posterior(Scene(observation.frame, sources, None, GaussianPSF(0.7)), observation, **settings)


def make_draws(posterior, seed, narrower=1.0):
    """Return draws of the prior, ``narrower`` times as narrow around their mean, with fluxes of sd 2."""
    prior, position = load_gaussian_prior(), {}
    for index, (name, side) in enumerate((("galaxy_0", 7), ("galaxy_1", 7), ("galaxy_1_core", 5))):
        images = prior.for_shape((side, side))
        drawn = images.sample(jax.random.key(100 * seed + index), (side, side), CHAINS * STEPS)
        drawn = images.mean + (drawn - images.mean) / narrower
        position[f"{name}.image"] = np.asarray(drawn).reshape(CHAINS, STEPS, side, side)
    flux = 40 + 2 * np.random.default_rng(seed).normal(size=(CHAINS, STEPS, 2, 2))
    return Draws(position, {"flux": flux}, {}, "done", {}, posterior)


@pytest.mark.parametrize("prior", [load_log_gaussian_prior(), load_profile_prior()], ids=lambda p: p.name)
def test_images_that_are_drawn_from_the_prior_gain_nothing_whatever_coordinate_they_are_sampled_in(
    seed_shift, prior
):
    """Positions are the logarithm of the light, or what is left of it beside a profile, and gains are of u."""
    posterior, position = make_posterior(image=prior), {}
    for index, parameter in enumerate(p for p in posterior.parameters if p.name.endswith(".image")):
        key = jax.random.key(10 * seed_shift + index)
        drawn = parameter.prior.sample(key, parameter.shape, CHAINS * STEPS)
        drawn = jax.vmap(parameter.unconstrain)(drawn)
        position[parameter.name] = np.asarray(drawn).reshape(CHAINS, STEPS, *parameter.coordinate_shape)
    flux = np.random.default_rng(seed_shift).normal(size=(CHAINS, STEPS, 2, 2))
    draws = Draws(position, {"flux": flux}, {}, "done", {}, posterior)
    gain = data_gain(jax.random.key(99 + seed_shift), draws, num_prior=1000)
    for found in gain.pixels.values():
        assert np.median(found) == pytest.approx(1, abs=0.1)


def test_gain_of_pixels_is_how_much_narrower_the_draws_are(seed_shift):
    gain = data_gain(
        jax.random.key(seed_shift), make_draws(make_posterior(), 1 + seed_shift, 3.0), num_prior=1000
    )
    exact = np.sqrt(np.diag(load_gaussian_prior().for_shape((7, 7)).covariance())).reshape(7, 7)
    np.testing.assert_allclose(gain.prior_sd["galaxy_0"], exact, rtol=0.15)
    np.testing.assert_allclose(gain.posterior_sd["galaxy_1"], exact / 3, rtol=0.25)
    assert set(gain.pixels) == {"galaxy_0", "galaxy_1", "galaxy_1_core"}
    for name, found in gain.pixels.items():
        z = (found / 3 - 1) / gain.relative_error[name]
        assert np.abs(z).max() < 5
        # Negative control: the errors are not so wide that anything passes.
        assert np.abs((found / 3.6 - 1) / gain.relative_error[name]).max() > 4
    assert (
        np.sqrt(0.5 / 1400) < np.median(gain.relative_error["galaxy_0"]) < 2 * np.sqrt(0.5 / 1000 + 0.5 / 400)
    )


def test_gain_of_fluxes_needs_a_proper_prior(seed_shift):
    flat = data_gain(jax.random.key(0), make_draws(make_posterior(), 1), num_prior=2)
    assert np.isposinf(flat.flux).all() and flat.flux.shape == (2, 2)
    proper = make_posterior(flux=dist.Normal(jnp.array([30.0, 50.0]), jnp.array([6.0, 10.0])))
    gain = data_gain(jax.random.key(0), make_draws(proper, 2 + seed_shift), num_prior=2000)
    # The second object is the sum of two components.
    np.testing.assert_allclose(gain.flux, np.array([[3, 5], [3 * 2**0.5, 5 * 2**0.5]]), rtol=0.2)
    assert np.abs(gain.flux[1] / gain.flux[0] - 2**0.5).max() < 0.25


def test_images_of_a_transformed_distribution_are_drawn_in_their_own_coordinate(seed_shift):
    posterior = make_posterior(image=dist.LogNormal(0.0, 0.5))
    rng = np.random.default_rng(seed_shift)
    position = {
        p.name: 0.25 * rng.normal(size=(CHAINS, STEPS, *p.shape)).astype(np.float32)
        for p in posterior.parameters
    }
    draws = Draws(position, {"flux": np.ones((CHAINS, STEPS, 2, 2))}, {}, "done", {}, posterior)
    gain = data_gain(jax.random.key(1), draws, num_prior=2000)
    wide, narrow = (np.sqrt((np.exp(s**2) - 1) * np.exp(s**2)) for s in (0.5, 0.25))
    np.testing.assert_allclose(np.mean(gain.pixels["galaxy_0"]), wide / narrow, rtol=0.05)


@pytest.mark.parametrize("kind", ["score alone", "improper"])
def test_a_prior_without_draws_has_no_gain(score_only, kind):
    hidden = (
        score_only(load_gaussian_prior().for_shape((7, 7)))
        if kind == "score alone"
        else dist.ImproperUniform(dist.constraints.real, (), (7, 7))
    )
    posterior = make_posterior(priors={"galaxy_0.image": hidden})
    gain = data_gain(jax.random.key(0), make_draws(posterior, 1), num_prior=10)
    assert np.isnan(gain.pixels["galaxy_0"]).all() and np.isfinite(gain.pixels["galaxy_1"]).all()
    assert np.isfinite(gain.posterior_sd["galaxy_0"]).all()


def test_bad_input():
    draws = make_draws(make_posterior(), 1)
    with pytest.raises(ConfigError, match="num_prior is 1"):
        data_gain(jax.random.key(0), draws, num_prior=1)
    with pytest.raises(ConfigError, match="of a Density"):
        data_gain(jax.random.key(0), draws._replace(density=Density(log_prob=lambda x: -jnp.sum(x**2))))
    one = draws._replace(position={n: v[:1, :1] for n, v in draws.position.items()}, derived={})
    with pytest.raises(DataError, match="there are 1"):
        data_gain(jax.random.key(0), one)
