"""Bent coordinates: there and back, the volume they take, and what stays the same along them."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.models.amplitude_bend import amplitude_bend
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
    return amplitude_bend(prior.scatter.root, position, lambda v: seen @ (seen.T @ v))


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


def test_what_data_know_does_not_depend_on_the_amplitude(bend, position, seen):
    """Along the amplitude, straight, light that is seen goes along with it; bent, it stays."""
    light = lambda q: amplitude_of(q[:NUM_SHAPE]) * q[NUM_SHAPE:] @ seen[:, :3]
    along = position.at[AMPLITUDE_AT].add(1.0)
    here = light(position)
    assert np.linalg.norm(light(along) - here) > 0.3 * np.linalg.norm(here)
    ratio = jnp.log(amplitude_of(along[:NUM_SHAPE]) / amplitude_of(position[:NUM_SHAPE]))
    held = along.at[NUM_SHAPE:].add(
        -ratio * bend.shift
    )  # the part of the map that is there for the first order
    np.testing.assert_allclose(light(bend.bent(held)), here, atol=0.02 * np.linalg.norm(here))


def test_where_data_know_nothing_nothing_is_bent(prior, position, elsewhere):
    bend = amplitude_bend(prior.scatter.root, position, lambda v: 0 * v)
    np.testing.assert_allclose(bend.bent(elsewhere), elsewhere, **TOLERANCE)
    assert float(bend.log_volume(elsewhere)) == pytest.approx(0, abs=1e-4)
