"""Bent coordinates: there and back, the volume they take, and what stays the same along them."""

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.models.profile_bend import ProfileBend
from scoresample.models.profile_prior import load_profile_prior
from scoresample.models.profile_shape import AMPLITUDE_AT, NUM_SHAPE, amplitude_of

SEED = int(os.environ.get("SCORESAMPLE_TEST_SEED", 0))
SHAPE = (5, 4)
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def prior():
    return load_profile_prior().for_shape(SHAPE)


@pytest.fixture(scope="module")
def position(prior):
    drawn = jax.random.normal(jax.random.key(SEED + 1), prior.coordinate_shape(SHAPE))
    return drawn.at[AMPLITUDE_AT].set(-0.5)  # larger ones are held by their bound, and change by little


@pytest.fixture(scope="module")
def elsewhere(position):
    step = jax.random.normal(jax.random.key(SEED + 2), position.shape)
    return position + 0.7 * step.at[AMPLITUDE_AT].set(1.5)


@pytest.fixture(scope="module")
def seen():
    """Patterns of pixels that data know, of three very well."""
    columns = np.linalg.qr(np.random.default_rng(SEED).normal(size=(20, 6)))[0]
    return columns * np.array([100.0, 100, 100, 1, 0.3, 0.1])


@pytest.fixture(scope="module")
def bend(prior, position, seen):
    return bend_of(prior, position, lambda v: seen @ (seen.T @ v))


class OfOne(NamedTuple):
    """A bend of one galaxy, of its numbers alone."""

    several: ProfileBend

    def bent(self, position):
        return self.several.bent({"image": position})[0]["image"]

    def straight(self, position):
        return self.several.straight({"image": position})["image"]

    def log_volume(self, position):
        return self.several.bent({"image": position})[1]


def bend_of(prior, position, information):
    return OfOne(prior.bend({"image": prior}, {"image": position}, {"image": information}))


def test_galaxies_of_several_shapes_bend_as_each_alone(prior, bend, position, elsewhere, seen):
    """Known by other patterns, and of another number of them; what else is in a position stays."""
    shape = (10, 12)
    other = load_profile_prior().for_shape(shape)
    here, there = (
        0.3 * jax.random.normal(jax.random.key(SEED + k), other.coordinate_shape(shape)) for k in (5, 6)
    )
    assert here.size - NUM_SHAPE > 96 > position.size - NUM_SHAPE
    half = lambda v: 50.0 * v * (np.arange(120) % 2)[:, None]
    alone = bend_of(other, here, half)
    information = {"a": lambda v: seen @ (seen.T @ v), "b": half, "c": None}
    together = prior.bend({"b": other, "a": prior}, {"a": position, "b": here, "c": position}, information)
    moved, log_volume = together.bent({"a": elsewhere, "b": there, "c": elsewhere})
    np.testing.assert_allclose(moved["a"], bend.bent(elsewhere), **TOLERANCE)
    np.testing.assert_allclose(moved["b"], alone.bent(there), **TOLERANCE)
    np.testing.assert_array_equal(moved["c"], elsewhere)
    expected = bend.log_volume(elsewhere) + alone.log_volume(there)
    assert float(log_volume) == pytest.approx(float(expected), abs=1e-3)
    assert jnp.max(jnp.abs(moved["b"] - there)) > 0.1  # both move
    np.testing.assert_allclose(together.straight(moved)["b"], there, **TOLERANCE)


def test_there_and_back(bend, elsewhere):
    np.testing.assert_allclose(bend.straight(bend.bent(elsewhere)), elsewhere, **TOLERANCE)
    np.testing.assert_allclose(bend.bent(bend.straight(elsewhere)), elsewhere, **TOLERANCE)


def test_around_the_position_nothing_changes_to_first_order(bend, position):
    np.testing.assert_allclose(bend.bent(position), position, **TOLERANCE)
    slope = jax.jacfwd(bend.bent)(position)
    np.testing.assert_allclose(slope, np.eye(position.size), atol=1e-3)


def test_the_volume_is_that_of_the_map(bend, elsewhere):
    sign, log_volume = np.linalg.slogdet(np.asarray(jax.jacfwd(bend.bent)(elsewhere), float))
    assert sign == 1
    assert abs(log_volume) > 1  # it matters
    assert float(bend.log_volume(elsewhere)) == pytest.approx(log_volume, abs=2e-3)


def test_what_data_know_does_not_depend_on_the_amplitude(bend, prior, position, seen):
    """In (z, c), light that is seen beside the profile goes along with the amplitude; bent, it is linear."""
    light = lambda q: prior.of_image(q).ravel() @ seen[:, :3]
    along = jnp.zeros_like(position).at[AMPLITUDE_AT].set(1.0)
    here, slope = jax.jvp(lambda q: light(bend.bent(q)), (position,), (along,))
    expected = here + 1.5 * slope
    near = np.linalg.norm(light(bend.bent(position + 1.5 * along)) - expected)
    far = np.linalg.norm(light(position + 1.5 * along) - expected)
    assert near < 0.02 * far
    assert far > 0.3 * np.linalg.norm(
        amplitude_of(position[:NUM_SHAPE]) * prior.of_pixels(position).ravel() @ seen[:, :3]
    )


def test_what_data_know_is_straight_along_the_profile(bend, prior, position, seen):
    """Of radius and index; in (z, c), light that is seen bends with the profile."""
    light = lambda q: prior.of_image(q).ravel() @ seen[:, :3]
    along = jnp.zeros_like(position).at[jnp.array([0, 3])].set(1.0)
    here, slope = jax.jvp(lambda q: light(bend.bent(q)), (position,), (along,))
    for step in (-0.8, 0.8):
        expected = here + step * slope
        near = np.linalg.norm(light(bend.bent(position + step * along)) - expected)
        far = np.linalg.norm(light(position + step * along) - expected)
        assert near < 0.02 * far
    assert far > 0.1 * np.linalg.norm(slope)  # it matters


def test_where_data_know_nothing_nothing_is_bent(prior, position, elsewhere):
    bend = bend_of(prior, position, lambda v: 0 * v)
    np.testing.assert_allclose(bend.bent(elsewhere), elsewhere, **TOLERANCE)
    assert float(bend.log_volume(elsewhere)) == pytest.approx(0, abs=1e-4)


def test_of_a_gaussian_likelihood_the_scatter_does_not_know_the_profile(prior, position, seen):
    """The density of q given z is one Gaussian for all z but for a shift that is linear in z, which whitening takes."""
    position = position.at[NUM_SHAPE:].set(0)
    position = position.at[AMPLITUDE_AT].set(-0.5)
    data = prior.of_image(position)

    def log_prob(q):
        misfit = (prior.of_image(q) - data).ravel() @ seen / amplitude_of(position[:NUM_SHAPE])
        return prior.unconstrained_log_prob(q) - 0.5 * jnp.sum(misfit**2)

    bend = bend_of(prior, position, lambda v: seen @ (seen.T @ v))
    bent = lambda q: log_prob(bend.bent(q)) + bend.log_volume(q)
    step = jnp.array([0.6, -0.4, 0.3, 0.5, 0.4, -0.3, 0.8])
    spread = {}
    for name, density in (("bent", bent), ("straight", log_prob)):
        given = lambda z, density=density: jnp.diag(
            jax.hessian(lambda q: density(position.at[:NUM_SHAPE].set(z).at[NUM_SHAPE:].set(q)))(
                position[NUM_SHAPE:]
            )
        )
        first = given(position[:NUM_SHAPE])
        spread[name] = max(
            float(jnp.max(jnp.abs(given(position[:NUM_SHAPE] + s * step) / first - 1))) for s in (-1, 1)
        )
    assert spread["bent"] < 0.01
    assert spread["straight"] > 0.3  # it matters
