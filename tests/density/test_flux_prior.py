"""Priors on fluxes: flat, Gaussian, positive, and of components."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from scoresample.data.observation import make_observation
from scoresample.density.posterior import Posterior
from scoresample.errors import ConfigError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.morphology import to_coordinate, to_morphology
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source


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


@pytest.fixture
def one_galaxy():
    """A galaxy alone in two bands over no background, and what its image is for other widths and peaks."""
    rng = np.random.default_rng(1)
    shape, psf = (25, 25), np.exp(-0.5 * ((np.indices((9, 9)) - 4) ** 2).sum(axis=0) / 1.3**2)
    light = np.exp(-0.5 * ((np.indices(shape) - 12) ** 2).sum(axis=0) / 2.5**2)
    images = 3 * light * np.ones((2, 1, 1)) + rng.normal(size=(2, *shape))
    weights, psfs = np.ones_like(images), [psf / psf.sum()] * 2
    observation = make_observation(images, weights, psfs, ["g", "r"], flux_unit="nJy")
    source = make_source("galaxy", gaussian_morphology(17, 2.0), np.array([12.0, 12.0]), np.ones(2))
    scene = Scene(observation.frame, (source,), None, GaussianPSF(0.7))
    posterior = Posterior(scene, observation, center=None, image=load_gaussian_prior())

    def image(sigma, peak=1.0):
        return {"galaxy.image": to_coordinate(peak * to_morphology(gaussian_morphology(17, sigma).image))}

    return posterior, image


def test_flat_fluxes_favour_no_size(one_galaxy):
    """What is left of a galaxy alone is its best fit; flat in the amplitude of S it would be that over its radius."""
    posterior, image = one_galaxy
    left, flat = [], []
    for sigma in (1.2, 2.4):
        values = posterior.values(image(sigma))
        solution = posterior.solve(posterior.columns(values))
        left.append(float(posterior.log_likelihood(image(sigma)) - solution.log_maximum))
        flat.append(float(solution.log_evidence - solution.log_maximum))
    assert left[1] == pytest.approx(left[0], abs=0.01)
    assert flat[1] < flat[0] - 0.8  # the negative control: twice as large in two bands


def test_flat_fluxes_favour_no_brightness_of_the_image(one_galaxy):
    """Whether the peak of S is 1 or 3 is nothing that data tell."""
    posterior, image = one_galaxy
    usual, bright = (float(posterior.log_likelihood(image(2.0, peak))) for peak in (1.0, 3.0))
    assert bright == pytest.approx(usual, abs=0.01)


def test_fluxes_that_no_pixel_knows_have_no_scale(make_scene):
    scene, observation = make_scene(galaxies=True, dark=True)
    posterior = Posterior(scene, observation, image=load_gaussian_prior())
    np.testing.assert_array_equal(posterior.flux_prior.scale_free, [[True, True], [False, False]])
    position = posterior.initial_position()
    assert all(np.isfinite(np.asarray(s)).all() for s in posterior.score(position).values())
    assert not Posterior(scene, observation, flux=dist.Normal(0, 100)).flux_prior.scale_free.any()
