"""The scale of a morphology: what stands for it, and that a learned prior fixes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.models.brightness import (
    BRIGHTNESS_SD,
    USUAL_BRIGHTNESS,
    brightness,
    brightness_sd,
    move_to_brightness,
    of_usual_brightness,
    off_brightness,
)
from scoresample.models.load import load_prior
from scoresample.models.morphology import to_coordinate, to_morphology


def galaxy(peak=1.0, sigma=2.0, side=17):
    y, x = np.indices((side, side)) - (side - 1) / 2
    return to_coordinate(jnp.asarray(peak * np.exp(-0.5 * (x**2 + y**2) / sigma**2), jnp.float32))


def test_a_factor_of_the_image_is_a_difference_of_brightness():
    assert float(brightness(galaxy(0.5)) - brightness(galaxy(1.0))) == pytest.approx(np.log(0.5), abs=1e-4)
    assert -0.5 < float(brightness(galaxy())) < 0  # the logarithm of a mean of S where S is near its peak, 1


def test_images_of_usual_brightness_are_a_factor_away():
    moved = of_usual_brightness(galaxy(0.3))
    assert float(brightness(moved)) == pytest.approx(USUAL_BRIGHTNESS, abs=1e-4)
    ratio = np.asarray(to_morphology(moved) / to_morphology(galaxy(0.3)))
    np.testing.assert_allclose(ratio[5:12, 5:12], ratio[8, 8], rtol=1e-3)


@pytest.mark.parametrize("u", [jnp.zeros((17, 17)), -jnp.ones((17, 17)), 40 * jnp.ones((17, 17))])
def test_images_that_are_no_galaxies_have_a_finite_density_and_score(u):
    value, score = jax.value_and_grad(off_brightness)(u, jnp.asarray(0.3))
    assert np.isfinite(value) and np.isfinite(score).all()
    assert np.isfinite(of_usual_brightness(u)).all() and np.isfinite(move_to_brightness(u, value * 0)).all()


def test_noise_is_moved_as_little_as_brings_it_to_a_brightness():
    noisy = galaxy() + 0.3 * jax.random.normal(jax.random.key(0), (17, 17))
    moved = move_to_brightness(noisy, jnp.asarray(USUAL_BRIGHTNESS))
    assert float(brightness(moved)) == pytest.approx(USUAL_BRIGHTNESS, abs=2e-3)
    slope = np.asarray(jax.grad(brightness)(noisy)).ravel()
    step = np.asarray(moved - noisy).ravel()
    assert slope @ step / np.linalg.norm(slope) / np.linalg.norm(step) == pytest.approx(
        np.sign(USUAL_BRIGHTNESS - float(brightness(noisy))), abs=0.02
    )


def test_the_learned_prior_fixes_the_scale_where_the_network_alone_does_not():
    prior = load_prior("galaxies")
    factors = np.exp(np.array([-0.3, -0.06, 0.0, 0.06, 0.3]))
    noise = 0.3 * jax.random.normal(jax.random.key(1), (17, 17))
    images = []
    for factor in factors:
        u = to_coordinate(factor * to_morphology(of_usual_brightness(galaxy())))
        images.append(move_to_brightness(u + noise, jnp.asarray(USUAL_BRIGHTNESS + np.log(factor))))
    with_scale = np.array([float(prior.log_prob(u)) for u in images])
    network_alone = with_scale + np.array([float(off_brightness(u, jnp.asarray(0.3))) for u in images])
    assert (with_scale[2] - with_scale[[1, 3]] > 1).all() and (with_scale[2] - with_scale[[0, 4]] > 50).all()
    assert abs(network_alone[2] - network_alone).max() < 30


def test_draws_of_the_learned_prior_have_the_brightness_of_its_density():
    prior = load_prior("galaxies")
    draws = prior.sample(jax.random.key(2), (16, 16), 40)
    sd = float(brightness_sd(jnp.asarray(prior.noise_level)))
    z = (np.asarray(jax.vmap(brightness)(draws)) - USUAL_BRIGHTNESS) / sd
    assert abs(z.mean()) < 5 / np.sqrt(40) and 0.6 < z.std() < 1.5
    assert sd == pytest.approx(BRIGHTNESS_SD, rel=0.1)
