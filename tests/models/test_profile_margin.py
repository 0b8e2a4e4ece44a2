"""Wide boxes under the prior of profiles: images scatter in the middle, and are their profile in the margin."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.errors import ShapeError
from scoresample.models.profile_prior import load_profile_prior
from scoresample.models.profile_shape import NUM_SHAPE

SEED = int(os.environ.get("SCORESAMPLE_TEST_SEED", 0))
SHAPE = (31, 25)
MIDDLE = (slice(6, 25), slice(4, 21))


@pytest.fixture(scope="module")
def prior():
    return load_profile_prior().for_shape(SHAPE)


@pytest.fixture(scope="module")
def position(prior):
    return 0.5 * jax.random.normal(jax.random.key(SEED), prior.coordinate_shape(SHAPE))


def in_margin(image):
    return np.delete(np.asarray(image).ravel(), np.arange(image.size).reshape(SHAPE)[MIDDLE].ravel())


def test_only_the_middle_has_numbers_of_its_own(prior, position):
    assert prior.free_pixels(SHAPE) == MIDDLE
    assert position.size == NUM_SHAPE + 19 * 17
    assert prior.of_pixels(position).shape == (19, 17)
    image = prior.to_constrained(position)[0]
    other = prior.to_constrained(position.at[NUM_SHAPE:].add(1.0))[0]
    assert image.shape == SHAPE
    np.testing.assert_array_equal(in_margin(other), in_margin(image))
    assert np.all(other[MIDDLE] > image[MIDDLE])


@pytest.mark.parametrize("side", [9, 17, 18])
def test_small_boxes_have_no_margin(side):
    assert load_profile_prior().for_shape((side, side)).free_pixels((side, side)) == (slice(0, side),) * 2


def test_an_image_is_that_of_its_coordinates(prior, position):
    image = prior.to_constrained(position)[0]
    again = prior.to_unconstrained(image)
    np.testing.assert_allclose(prior.to_constrained(again)[0], image, atol=0.03)
    np.testing.assert_allclose(again[:4], position[:4], atol=0.2)  # since the margin has no scatter


def test_slopes_are_derivatives(prior, position):
    slopes = jax.jit(jax.jacfwd(lambda q: prior.to_constrained(q)[0].ravel()))(position)
    which = np.arange(np.prod(SHAPE)).reshape(SHAPE)[MIDDLE].ravel()
    of_pixels = np.ravel(prior.slope(position))
    np.testing.assert_allclose(np.diag(slopes[which, NUM_SHAPE:]), of_pixels[which], rtol=1e-4, atol=1e-6)
    beside = of_pixels[:, None] * prior.beside_pixels(position)
    np.testing.assert_allclose(slopes[:, :NUM_SHAPE], beside, rtol=1e-3, atol=1e-4)
    log_jacobian = prior.to_constrained(position)[1]
    np.testing.assert_allclose(np.sum(np.log(of_pixels[which])), log_jacobian, rtol=1e-4)


def test_bends_know_the_middle(prior, position):
    """What data know of the margin they know of the profile, which is in front of the scatter."""
    margin = np.ones(SHAPE)
    margin[MIDDLE] = 0
    step = position.at[:NUM_SHAPE].add(0.7)
    for seen, bent in ((margin, False), (1 - margin, True)):
        bend = prior.bend(position, lambda v, seen=seen: 100 * seen.ravel()[:, None] * v)
        np.testing.assert_allclose(bend.straight(bend.bent(step)), step, rtol=2e-3, atol=2e-3)
        assert (np.abs(bend.bent(step) - step).max() > 0.01) == bent


def test_a_margin_unlike_the_profile_is_improbable(prior, position):
    image = prior.to_constrained(position)[0]
    ring = image.at[2].add(0.5)
    assert np.isfinite(prior.log_prob(image))
    assert prior.log_prob(ring) < prior.log_prob(image) - 20


def test_draws_have_the_shape_and_others_are_refused(prior):
    assert prior.sample(jax.random.key(SEED), SHAPE, 2).shape == (2, *SHAPE)
    with pytest.raises(ShapeError, match=r"\(31, 25\), not \(19, 17\)"):
        prior.sample(jax.random.key(SEED), (19, 17), 2)
    assert jnp.shape(prior.for_shape(SHAPE).excess) == (19, 17)
