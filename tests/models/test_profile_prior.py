"""The prior of a profile and of scatter about it: densities that are what they say, and draws like galaxies."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.density.parameters import Parameter
from scoresample.errors import ConfigError, ShapeError
from scoresample.models.load import load_prior
from scoresample.models.log_gaussian_prior import from_logarithm, to_logarithm
from scoresample.models.morphology import to_coordinate, to_morphology
from scoresample.models.profile_marginal import most_probable_profile
from scoresample.models.profile_prior import CENTER_SIGMA, held_in_the_middle, load_profile_prior
from scoresample.models.profile_shape import (
    AMPLITUDE,
    AMPLITUDE_AT,
    AMPLITUDE_SCATTER,
    ELLIPTICITY,
    LARGEST_AMPLITUDE,
    NUM_SHAPE,
    RADIUS,
    RADIUS_SCATTER,
    amplitude_of,
    bounded,
    profile_of,
)
from scoresample.models.soft_profile import SOFTENING, SoftProfile
from scoresample.products.prior_report import SIDE, report_prior

SEED = int(os.environ.get("SCORESAMPLE_TEST_SEED", 0))
SHAPE = (11, 13)


@pytest.fixture(scope="module")
def image_prior():
    return load_profile_prior().for_shape(SHAPE)


@pytest.fixture
def position(image_prior):
    return jax.random.normal(jax.random.key(SEED + 1), image_prior.coordinate_shape(SHAPE))


@pytest.mark.parametrize("index", [1.0, 2.0, 4.0])
def test_half_of_the_light_is_within_the_radius(index):
    """But for the softened center, which matters to the steepest most."""
    profile = SoftProfile(jnp.log(40.0), jnp.zeros(2), jnp.log(index), jnp.zeros(2))
    radius = jnp.geomspace(1e-3, 4e4, 20_000)
    inside = radius * jnp.exp(profile.log_light(radius, jnp.zeros_like(radius)))
    light = np.cumsum(0.5 * (inside[1:] + inside[:-1]) * np.diff(radius))
    assert np.interp(0.5, light / light[-1], radius[1:]) == pytest.approx(40, rel=0.04 if index < 3 else 0.2)


def test_isophotes_have_the_axis_ratio_and_the_center():
    profile = SoftProfile(jnp.log(5.0), jnp.array([0.4, 0.0]), jnp.zeros(()), jnp.array([0.2, -0.3]))
    size = np.sqrt((1 + 0.4) / (1 - 0.4))  # semi-axes of the isophote of area pi
    along_x = profile.log_light(jnp.array(0.2), jnp.array(4 * size - 0.3))
    along_y = profile.log_light(jnp.array(4 / size + 0.2), jnp.array(-0.3))
    turned = SoftProfile(jnp.log(5.0), jnp.array([0.0, 0.4]), jnp.zeros(()), jnp.zeros(2))
    along_diagonal = turned.log_light(*jnp.full((2, 1), 4 * size / np.sqrt(2)))
    np.testing.assert_allclose(along_x, along_y, rtol=1e-5)
    np.testing.assert_allclose(along_x, along_diagonal[0], rtol=1e-5)
    assert profile.log_light(jnp.array(0.2), jnp.array(-0.3)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("log_radius", "bent"), [(0.0, (0.0, 0.0)), (-3.5, (3.0, 0.0)), (2.5, (-1.0, 2.0))])
def test_a_profile_has_the_axes_of_its_ellipse_and_of_a_narrow_psf(log_radius, bent):
    """Their squares add. So small galaxies are round, whatever their ellipticity."""
    z = jnp.array([log_radius, *bent, 0, 0, 0, 0])
    found = profile_of(z)
    radius = RADIUS * np.exp(RADIUS_SCATTER * float(bounded(z[0])))
    e = np.tanh(ELLIPTICITY * np.hypot(*bent))
    axes = np.sqrt(radius**2 * np.array([(1 + e) / (1 - e), (1 - e) / (1 + e)]) + SOFTENING**2)
    assert found.log_radius == pytest.approx(np.log(axes.prod()) / 2, abs=1e-4)
    expected = (axes[0] - axes[1]) / axes.sum()
    assert np.hypot(*found.ellipticity) == pytest.approx(expected, abs=1e-4)
    assert np.arctan2(*found.ellipticity) == pytest.approx(np.arctan2(*bent), abs=1e-4)


def test_an_image_is_that_of_its_coordinates(image_prior, position):
    u = image_prior.to_constrained(position)[0]
    again = image_prior.to_unconstrained(u)
    np.testing.assert_allclose(image_prior.to_constrained(again)[0], u, rtol=1e-3, atol=1e-3)
    # With the image, the coordinates found are no less probable than those it was made from.
    log_volume = lambda q: image_prior.patterns.shape[1] * jnp.log(amplitude_of(q[:NUM_SHAPE]))
    probable = lambda q: image_prior.unconstrained_log_prob(q) - log_volume(q)
    assert probable(again) > probable(position) - 0.1


def test_images_of_several_shapes_are_those_of_each_alone(image_prior, position):
    """Two of one shape, and one of another with fewer patterns than the first has pixels."""
    small = load_profile_prior().for_shape((4, 5))
    assert small.joins == image_prior.joins
    other = jax.random.normal(jax.random.key(SEED + 8), small.coordinate_shape((4, 5)))
    two = jnp.stack([position, position[::-1]])
    found = image_prior.constrain_together([image_prior, small], [two, other[None]])
    assert [image.shape for image in found] == [(2, *SHAPE), (1, 4, 5)]
    for image, (prior, q) in zip(
        (*found[0], *found[1]),
        ((image_prior, two[0]), (image_prior, two[1]), (small, other)),
        strict=True,
    ):
        np.testing.assert_allclose(image, prior.to_constrained(q)[0], rtol=1e-4, atol=1e-4)
    assert jnp.std(found[0][0] - found[0][1]) > 0.1


def test_an_image_of_more_pixels_than_patterns_is_that_of_its_coordinates():
    shape = (23, 23)
    prior = load_profile_prior().for_shape(shape)
    (size,) = prior.coordinate_shape(shape)
    assert size < 23**2 / 2
    u = prior.to_constrained(jax.random.normal(jax.random.key(SEED + 4), (size,)))[0]
    again = prior.to_constrained(prior.to_unconstrained(u))[0]
    np.testing.assert_allclose(again, u, rtol=1e-3, atol=1e-3)
    # Negative control: what patterns do not have is not found.
    noisy = u + 0.1 * jax.random.normal(jax.random.key(SEED + 7), shape)
    assert jnp.std(prior.to_constrained(prior.to_unconstrained(noisy))[0] - noisy) > 0.05


def test_slopes_are_derivatives(image_prior, position):
    slopes = jax.jit(jax.jacfwd(lambda q: image_prior.to_constrained(q)[0].ravel()))(position)
    slope = np.ravel(image_prior.slope(position))
    np.testing.assert_allclose(
        slopes, slope[:, None] * image_prior.pixels_by_coordinate(position), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(np.sum(np.log(slope)), image_prior.to_constrained(position)[1], rtol=1e-4)


def test_the_density_of_an_image_is_the_integral_over_profiles(image_prior):
    """Laplace's method against importance sampling around the same peak, with wider tails than it has."""
    scale, prior = 1.3, image_prior
    noise = jax.random.normal(jax.random.key(SEED + 3), (20_000, NUM_SHAPE))

    @jax.jit
    def numbers(u):
        w = to_logarithm(u, prior.softening)
        z = most_probable_profile(prior.scatter.root, prior.logarithm, w)

        def joint(z):
            delta = (w - prior.logarithm(z)) / amplitude_of(z)
            log_jacobian = from_logarithm(w, prior.softening)[1] + w.size * jnp.log(amplitude_of(z))
            normal = -0.5 * jnp.sum(z**2) - 0.5 * NUM_SHAPE * np.log(2 * np.pi)
            return normal + prior.scatter.log_prob(delta) - log_jacobian

        slope, covariance = jax.grad(joint)(z), jnp.linalg.inv(-jax.hessian(joint)(z))
        root = jnp.linalg.cholesky(covariance)
        tried = z + scale * noise @ root.T
        proposal = -0.5 * jnp.sum(noise**2, axis=1) - NUM_SHAPE * np.log(scale) - jnp.linalg.slogdet(root)[1]
        ratio = jax.vmap(joint)(tried) - proposal + 0.5 * NUM_SHAPE * np.log(2 * np.pi)
        integral = jax.nn.logsumexp(ratio) - np.log(len(noise))
        return prior.log_prob(u), integral, slope @ covariance @ slope

    for u in prior.sample(jax.random.key(SEED + 2), SHAPE, 3):
        found, integral, gain = numbers(u)
        assert gain < 0.1  # twice what a step to the top would be worth
        assert found == pytest.approx(float(integral), abs=0.5)


def test_draws_have_sizes_that_their_box_does_not_tell():
    """Under a prior of which the box is the size, radii in boxes of 17 and 47 pixels are 2.8 times apart: 1.3 here."""
    prior, middle = load_profile_prior(), []
    for side in (17, 47):
        ready = prior.for_shape((side, side))
        found = jax.vmap(ready.to_unconstrained)(ready.sample(jax.random.key(SEED), (side, side), 40))
        assert 0.6 < np.std(found[:, 0]) < 1.4
        middle.append(np.median(found[:, 0]))
    assert abs(middle[1] - middle[0]) < 0.8  # of a scatter of 1: expected from 40 draws each are 0.28


@pytest.mark.parametrize(("side", "left"), [(11, 0.03), (47, 0.06)])
def test_patterns_have_the_scatter_but_for_a_little(side, left):
    """Of its variance: what is left is in the density of an image, with noise."""
    prior = load_profile_prior().for_shape((side, side))
    noise = prior.noise_level**2 * side**2
    whole = np.trace(prior.scatter.covariance()) - noise
    assert 0 <= 1 - np.sum(np.square(prior.patterns)) / whole < left
    few = dataclasses.replace(load_profile_prior(), num_patterns=24).for_shape((side, side))
    assert 1 - np.sum(np.square(few.patterns)) / whole > 2 * left


@pytest.mark.parametrize("shape", [(11, 13), (10, 16)])
def test_the_middle_is_held(shape):
    """Patterns there are as wide as they may be, and elsewhere nothing is held."""
    patterns = np.random.default_rng(SEED).normal(size=(np.prod(shape), 30))
    held = held_in_the_middle(patterns, shape)
    middle = lambda f: f.reshape(*shape, -1)[5, 6:7] if shape[0] == 11 else f.reshape(*shape, -1)[4:6, 7:9]
    first, then = (np.mean(middle(f).reshape(-1, 30), axis=0) for f in (patterns, held))
    conditional = 1 / (1 / np.sum(first**2) + 1 / CENTER_SIGMA**2)
    np.testing.assert_allclose(np.sum(then**2), conditional, rtol=1e-6)
    cross = patterns @ first / (np.sum(first**2) + CENTER_SIGMA**2)
    expected = np.sum(patterns**2, axis=1) - cross**2 * (np.sum(first**2) + CENTER_SIGMA**2)
    np.testing.assert_allclose(np.sum(held**2, axis=1), expected, rtol=1e-6)


@pytest.mark.parametrize("far", [-100.0, 100.0])
def test_samplers_may_try_any_numbers(image_prior, far):
    position = jnp.zeros(image_prior.coordinate_shape(SHAPE)).at[:NUM_SHAPE].set(far)
    light, slope = jax.jit(jax.value_and_grad(lambda q: jnp.sum(image_prior.to_constrained(q)[0])))(position)
    assert np.isfinite(light) and np.isfinite(slope).all()


def test_there_is_no_density_where_light_is_below_the_least(image_prior):
    u = jnp.zeros(SHAPE).at[2, 3].set(to_coordinate(jnp.asarray(-1.01 * image_prior.softening)))
    assert image_prior.log_prob(u) == -jnp.inf


def test_light_is_above_the_least(image_prior):
    u = image_prior.sample(jax.random.key(SEED + 6), SHAPE, 200)
    assert to_morphology(u).min() > -image_prior.softening


def test_it_is_loaded_by_name_and_says_what_it_is(image_prior):
    prior = load_prior("profile", noise_level=0.3)
    assert (prior.name, prior.noise_level) == ("profile", 0.3)
    assert str(Parameter("galaxy_0.image", image_prior, SHAPE)) == (
        "galaxy_0.image: profile (11 x 13, noise_level 0.15, log_prob)"
    )


def test_a_report_card_is_refused():
    galaxies = {SIDE: np.zeros((100, SIDE, SIDE), np.float32)}
    with pytest.raises(ConfigError, match="'profile' has numbers beside those of the pixels"):
        report_prior(load_profile_prior(), galaxies, progress=False)


def test_another_shape_is_refused(image_prior):
    with pytest.raises(ShapeError, match=r"\(11, 13\), not \(9, 9\)"):
        image_prior.for_shape((9, 9))


def test_the_amplitude_of_the_scatter_has_a_largest():
    z = jnp.zeros((3, NUM_SHAPE)).at[:, AMPLITUDE_AT].set(jnp.array([0.0, 2.0, 40.0]))
    found = jax.vmap(amplitude_of)(z) / AMPLITUDE
    np.testing.assert_allclose(found[0], 1, rtol=1e-6)
    assert found[0] < found[1] < found[2]
    np.testing.assert_allclose(found[2], np.exp(AMPLITUDE_SCATTER * LARGEST_AMPLITUDE), rtol=1e-6)
