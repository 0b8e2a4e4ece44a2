"""The prior that is Gaussian in the logarithm of the light: a density of u, and draws that look like galaxies."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ks_2samp

from scoresample.density.parameters import Parameter
from scoresample.errors import ShapeError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.load import load_prior
from scoresample.models.log_gaussian_prior import load_log_gaussian_prior
from scoresample.models.morphology import to_coordinate, to_morphology

SEED = int(os.environ.get("SCORESAMPLE_TEST_SEED", 0))
SHAPE = (9, 11)


@pytest.fixture(scope="module")
def prior():
    return load_log_gaussian_prior()


@pytest.fixture
def image_prior(prior):
    return prior.for_shape(SHAPE)


def test_log_prob_is_that_of_the_gaussian_less_the_log_jacobian(prior, image_prior):
    u = image_prior.sample(jax.random.key(SEED + 1), SHAPE, 1)[0]
    w = image_prior.to_unconstrained(u)
    again, log_jacobian = image_prior.to_constrained(w)
    np.testing.assert_allclose(again, u, rtol=1e-4, atol=1e-5)
    slopes = jax.jacfwd(lambda w: image_prior.to_constrained(w)[0].ravel())(w).reshape(w.size, w.size)
    np.testing.assert_allclose(jnp.linalg.slogdet(slopes)[1], log_jacobian, rtol=1e-4)
    expected = image_prior.gaussian.log_prob(w)
    np.testing.assert_allclose(image_prior.log_prob(u) + log_jacobian, expected, rtol=1e-4, atol=0.05)
    np.testing.assert_allclose(prior.log_prob(u), image_prior.log_prob(u), rtol=1e-6)
    parameter = Parameter("galaxy_0.image", image_prior, SHAPE)
    np.testing.assert_allclose(parameter.log_prob(w), expected, rtol=1e-6)
    np.testing.assert_allclose(parameter.constrain(w), again, rtol=1e-6)
    np.testing.assert_allclose(np.diag(slopes), np.ravel(parameter.slope(w)), rtol=1e-5)


def test_it_is_a_density_of_u(prior):
    """Of one pixel the integral over u is 1, and all of it is above the least light there is."""
    one = prior.for_shape((1, 1))
    least = float(to_coordinate(jnp.asarray(-one.softening)))
    u = jnp.linspace(least + 1e-4, 12, 40_001)
    density = jnp.exp(jax.vmap(one.log_prob)(u[:, None, None]))
    assert np.trapezoid(density, u) == pytest.approx(1, abs=0.01)
    assert one.log_prob(jnp.full((1, 1), least - 0.01)) == -jnp.inf


def test_the_score_is_the_gradient_and_finite_where_there_is_no_light(image_prior):
    u = image_prior.sample(jax.random.key(SEED + 2), SHAPE, 1)[0].at[0, :4].set(0.0)
    direction = jax.random.normal(jax.random.key(3), SHAPE)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), image_prior)
        step, at = 1e-5 * np.asarray(direction, float), np.asarray(u, float)
        slope = (wide.log_prob(jnp.asarray(at + step)) - wide.log_prob(jnp.asarray(at - step))) / 2e-5
    assert np.isfinite(image_prior.score(u)).all()
    np.testing.assert_allclose(jnp.sum(image_prior.score(u) * direction), slope, rtol=2e-3)


def light_and_radius(u):
    """Total light of images, and the radius that holds half of it."""
    light = np.asarray(to_morphology(u), float)
    y, x = np.indices(light.shape[1:])
    distance = np.hypot(y - (light.shape[1] - 1) / 2, x - (light.shape[2] - 1) / 2).ravel()
    order = np.argsort(distance)
    inside = np.cumsum(light.reshape(len(light), -1)[:, order], axis=1)
    half = np.argmax(inside >= 0.5 * inside[:, -1:], axis=1)
    return inside[:, -1], distance[order][half]


def test_draws_have_the_light_and_the_sizes_of_galaxies(prior):
    """Of those in boxes as they are laid. The Gaussian of galaxies in u does not: that is the control."""
    galaxies = pytest.importorskip("scoresample.training.galaxies")
    streams = np.random.SeedSequence([99 + SEED, 24]).spawn(800)
    real = np.stack([galaxies.simulate_in_ring_box(np.random.default_rng(s), 24) for s in streams])
    drawn = prior.sample(jax.random.key(SEED + 4), (24, 24), 800)
    plain = load_gaussian_prior().sample(jax.random.key(SEED + 5), (24, 24), 800)
    distances = lambda images: [
        ks_2samp(a, b).statistic
        for a, b in zip(
            light_and_radius(to_coordinate(jnp.asarray(real))), light_and_radius(images), strict=True
        )
    ]
    assert max(distances(drawn)) < 0.2  # sizes that rings misjudge are skewed, and the Gaussian is not: 0.15
    assert min(distances(plain)) > 0.3
    assert np.mean(light_and_radius(plain)[0] < 0) > 0.03  # negative light in all, which no galaxy has
    assert np.min(light_and_radius(drawn)[0]) > 0


def test_it_comes_by_name_and_for_one_shape(image_prior):
    prior = load_prior("log-gaussian", noise_level=0.3)
    assert (prior.name, prior.noise_level) == ("log-gaussian", 0.3)
    with pytest.raises(ShapeError, match="Gaussian prior is for images of shape"):
        image_prior.for_shape((5, 5))
