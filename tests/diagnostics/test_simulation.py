"""Truths are draws of the prior, and what is seen of them has the noise of the weights."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scoresample as ss
from scoresample.density.flux_prior_proper import with_proper_fluxes
from scoresample.diagnostics.simulation import (
    check_can_be_drawn,
    draw_truth,
    least_light,
    observe,
    quantities,
    shapes,
    with_images,
)

SHAPE, CENTERS = (20, 20), np.array([[8.0, 8.0], [12.0, 13.0]])
FLUX = np.array([[300.0, 500.0], [100.0, 200.0]])


def observed(*, weights=1.0):
    y, x = np.indices(SHAPE)
    spots = [np.exp(-0.5 * ((y - a) ** 2 + (x - b) ** 2) / 4) / (8 * np.pi) for a, b in CENTERS]
    images = np.einsum("kb,kyx->byx", FLUX, spots) + 0.5
    psf = np.exp(-0.5 * ((np.indices((9, 9)) - 4) ** 2).sum(axis=0) / 1.5**2)
    weight = np.broadcast_to(weights, images.shape)
    return ss.make_observation(images, weight, np.stack([psf / psf.sum()] * 2), "gr")


@pytest.fixture
def make_posterior():
    """A galaxy and a star, with priors as asked."""

    def make(*, weights=1.0, image=None, **priors):
        observation = observed(weights=weights)
        catalog = ss.make_catalog(CENTERS, is_star=[False, True])
        scene = ss.initialize_scene(observation, catalog, box_sizes=(13,))
        image = ss.load_prior("gaussian") if image is None else image
        return ss.Posterior(scene, observation, image=image, **priors)

    return make


def test_proper_fluxes_are_normal_around_the_scene(make_posterior):
    flat = make_posterior()
    proper = with_proper_fluxes(flat, scatter=0.2)
    assert [p.name for p in proper.parameters] == [p.name for p in flat.parameters]
    assert proper.collapse
    mean, sd = (np.asarray(a, float) for a in (proper.flux_prior.flux.loc, proper.flux_prior.flux.scale))
    # The first image, too broad, takes some of the star's light.
    np.testing.assert_allclose(mean.sum(axis=0), FLUX.sum(axis=0), rtol=0.3)
    assert (sd > 0.2 * np.abs(mean)).all() and (sd < 0.2 * np.abs(mean) + 60).all()
    wider = np.asarray(with_proper_fluxes(flat, scatter=0.4).flux_prior.flux.scale, float)
    np.testing.assert_allclose(wider**2 - sd**2, (0.4**2 - 0.2**2) * mean**2, rtol=1e-3)
    np.testing.assert_allclose(np.asarray(proper.flux_prior.background.loc), 0.5, atol=0.2)
    np.testing.assert_allclose(np.asarray(proper.flux_prior.background.scale), 0.3, rtol=1e-5)


def test_truths_have_the_moments_of_their_prior(make_posterior, key):
    posterior = make_posterior(flux=dist.Normal(jnp.asarray(FLUX), 20.0), background=dist.Normal(0.1, 0.3))
    least = least_light(posterior)
    truths = [draw_truth(k, posterior, least) for k in jax.random.split(key, 200)]
    amplitudes = np.stack([t.amplitudes for t in truths])
    error = np.array([20.0, 20.0, 0.3]) / np.sqrt(200)
    assert (np.abs(amplitudes.mean(axis=0) - [[300, 100, 0.1], [500, 200, 0.1]]) < 5 * error).all()
    assert (np.abs(amplitudes.std(axis=0) - [20, 20, 0.3]) < 5 * error / np.sqrt(2)).all()
    centers = np.stack([t.position["star_1.center"] for t in truths])
    assert (np.abs(centers.mean(axis=0) - CENTERS[1]) < 5 * 0.3 / np.sqrt(200)).all()
    lights = np.stack([shapes(posterior, t.position)["light"] for t in truths])
    assert lights[:, 0].min() > least[0] > 0
    assert (lights[:, 1] == 1).all() and least[1] == -np.inf


def test_images_are_those_of_the_model_and_fluxes_those_inside_the_frame(make_posterior, key):
    posterior = with_proper_fluxes(make_posterior())
    truth = draw_truth(key, posterior, least_light(posterior))
    found = quantities(posterior, truth.position, truth.amplitudes)
    total = found["flux"].sum(axis=0) + SHAPE[0] * SHAPE[1] * found["background"]
    np.testing.assert_allclose(truth.images.sum(axis=(1, 2)), total, rtol=1e-4)
    assert set(found) == {"flux", "background", "star_1.center", "light"}


def test_noise_is_that_of_the_weights_and_pixels_without_data_are_zero(make_posterior, key):
    weights = np.full((2, *SHAPE), 4.0)
    weights[1, :, :6] = 0
    posterior = with_proper_fluxes(make_posterior(weights=weights))
    images = observe(key, posterior, np.full((2, *SHAPE), 7.0, np.float32))
    assert (images[1, :, :6] == 0).all()
    noise = images[0] - 7
    assert abs(noise.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * noise.size)
    seen = with_images(posterior, images)
    for found in (seen.observation.images, seen.likelihood.data):
        np.testing.assert_allclose(np.asarray(found).reshape(images.shape), images, rtol=1e-6)


def test_priors_that_have_no_draws_are_named(make_posterior):
    with pytest.raises(ss.ConfigError, match="fluxes have a flat one"):
        check_can_be_drawn(make_posterior())
    with pytest.raises(ss.ConfigError, match="the background has a flat one"):
        check_can_be_drawn(make_posterior(flux=dist.Normal(100.0, 30.0)))
    score_only = ss.ScorePrior(lambda u: -u, (13, 13))
    with pytest.raises(ss.ScoreOnlyError, match=r"'galaxy_0\.image'.*score alone and has no samples"):
        check_can_be_drawn(with_proper_fluxes(make_posterior(image=score_only)))
    improper = dist.ImproperUniform(dist.constraints.real, (), (13, 13))
    with pytest.raises(ss.ConfigError, match=r"'galaxy_0\.image'.*has no samples; give it one that has"):
        check_can_be_drawn(with_proper_fluxes(make_posterior(image=improper)))
    check_can_be_drawn(with_proper_fluxes(make_posterior()))


def test_fluxes_that_are_sampled_are_drawn_from_their_prior(make_posterior, key):
    posterior = make_posterior(
        flux=dist.LogNormal(jnp.log(jnp.asarray(FLUX)), 0.1), background=dist.Normal(0.0, 0.3)
    )
    assert not posterior.collapse
    check_can_be_drawn(posterior)
    truth = draw_truth(key, posterior, least_light(posterior))
    ratio = np.asarray(truth.amplitudes)[:, :2].T / FLUX
    assert (np.abs(np.log(ratio)) < 0.5).all() and not np.allclose(ratio, 1)
