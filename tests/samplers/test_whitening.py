"""Whitened coordinates: there and back, round where the curvature is known, and where the chains are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.density.base import Density
from scoresample.density.posterior import Posterior
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.profile_prior import load_profile_prior
from scoresample.models.profile_shape import AMPLITUDE_AT
from scoresample.numerics.curvature import hessian_vector
from scoresample.numerics.trees import flatten
from scoresample.samplers.hmc import HMC
from scoresample.samplers.run import sample
from scoresample.samplers.targets import flat_target
from scoresample.samplers.whitening import add_curvature, local_whitening, recenter

SIZE = 8


@pytest.fixture
def quadratic(seed_shift):
    """A Gaussian of condition number ten thousand."""
    rotation = np.linalg.qr(np.random.default_rng(seed_shift).normal(size=(SIZE, SIZE)))[0]
    precision = jnp.asarray(rotation * np.geomspace(0.03, 300, SIZE) @ rotation.T)
    return Density(log_prob=lambda x: -0.5 * x @ precision @ x)


def hessian(density, whitening):
    """Minus the Hessian in whitened coordinates, at their origin."""
    gradient = jax.grad(lambda z: density.log_prob(whitening.position(z)))
    zero = jnp.zeros(whitening.size)
    return -jax.vmap(lambda v: hessian_vector(gradient, zero, v))(jnp.eye(whitening.size))


def test_all_directions_of_a_gaussian_make_it_round(quadratic, key):
    start = local_whitening(quadratic, jnp.zeros(SIZE))
    whitening, values = add_curvature(key, quadratic, start, num_directions=SIZE)
    np.testing.assert_allclose(values, np.geomspace(0.03, 300, SIZE), rtol=1e-2)
    np.testing.assert_allclose(hessian(quadratic, whitening), np.eye(SIZE), atol=0.02)


def test_few_directions_take_the_steepest(quadratic, key):
    start = local_whitening(quadratic, jnp.zeros(SIZE))
    whitening, _ = add_curvature(key, quadratic, start, num_directions=5)
    assert np.linalg.eigvalsh(hessian(quadratic, whitening)).max() < 5
    assert np.linalg.eigvalsh(hessian(quadratic, start)).max() > 299


def test_curvature_is_the_mean_over_the_points(key):
    density = Density(log_prob=lambda x: -jnp.sum(x**4) / 12)  # of curvature x^2
    start = local_whitening(density, jnp.zeros(1))
    whitening, _ = add_curvature(key, density, start, jnp.array([[1.0], [7.0]]), num_directions=1)
    np.testing.assert_allclose(whitening.position(jnp.ones(1)), 1 / np.sqrt(25), rtol=1e-4)


def test_a_hill_and_a_valley_do_not_make_a_plain(key):
    """Of points with curvatures of -24 and 24 the mean is flat, and neither is."""
    density = Density(log_prob=lambda x: jnp.sum(25 * x**2 / 2 - x**4 / 12))  # of curvature x^2 - 25
    start = local_whitening(density, jnp.zeros(1))
    points = jnp.array([[1.0], [7.0], [50.0]])  # of which the last does not count
    whitening, values = add_curvature(key, density, start, points, 1, jnp.asarray(2))
    np.testing.assert_allclose(whitening.position(jnp.ones(1)), 1 / np.sqrt(24), rtol=1e-4)
    assert abs(values[0]) < 1e-3


def test_positions_and_coordinates_are_inverse_to_each_other(make_scene, key):
    posterior = Posterior(*make_scene(galaxies=True), image=load_gaussian_prior())
    start = posterior.initial_position()
    compiled = posterior.for_compilation()
    whitening, _ = add_curvature(key, compiled, local_whitening(posterior, start))
    z = jax.random.normal(key, (whitening.size,))
    np.testing.assert_allclose(whitening.coordinates(whitening.position(z)), z, atol=2e-3)
    np.testing.assert_allclose(flatten(whitening.position(0 * z))[0], flatten(start)[0])
    # The posterior is nearly round there; in the coordinate u it is not.
    round_ones = np.linalg.eigvalsh(hessian(compiled, whitening))
    assert np.percentile(np.abs(round_ones - 1), 90) < 0.2


def test_measured_anew_the_coordinates_are_centered_on_the_chains_and_move_none(make_scene, key):
    posterior = Posterior(*make_scene(galaxies=True), image=load_gaussian_prior())
    compiled = posterior.for_compilation()
    before = local_whitening(posterior, posterior.initial_position())
    z = 1.0 + 0.3 * jax.random.normal(key, (4, before.size))
    after, moved = recenter(key, posterior, compiled, before, z)
    was, now = (jax.vmap(w.position)(x) for w, x in ((before, z), (after, moved)))
    for name, leaf in was.items():
        np.testing.assert_allclose(now[name], leaf, atol=2e-3)
        np.testing.assert_allclose(after.center[name], leaf.mean(axis=0), atol=1e-4)


@pytest.fixture
def bent_one(make_scene):
    """Two galaxies of unknown scatter, seen well."""
    posterior = Posterior(*make_scene(galaxies=True, brightness=30.0), image=load_profile_prior())
    position = posterior.initial_position()
    return posterior, {name: 0.3 + value for name, value in position.items()}


def test_bent_coordinates_go_there_and_back(bent_one, key):
    posterior, position = bent_one
    whitening = local_whitening(posterior, position, bent=True)
    assert [bend.names for bend in whitening.bends] == [("galaxy_0.image", "galaxy_1.image")]
    z = jax.random.normal(key, (whitening.size,))
    np.testing.assert_allclose(whitening.coordinates(whitening.position(z)), z, atol=2e-3)
    np.testing.assert_allclose(flatten(whitening.position(0 * z))[0], flatten(position)[0], atol=1e-4)


@pytest.mark.parametrize("by_value", [True, False])
def test_targets_count_the_volume_of_bent_coordinates(bent_one, by_value):
    """Between two points the density in z changes as that of positions does, and the volume of a step."""
    posterior, position = bent_one
    whitening = local_whitening(posterior, position, bent=True)
    compiled = posterior.for_compilation()
    points = 0.5 * jax.random.normal(jax.random.key(3), (2, whitening.size))

    def volume(z):
        slope = jax.jacfwd(lambda z: flatten(whitening.position(z))[0])(z)
        return np.linalg.slogdet(np.asarray(slope, float))[1]

    volumes = [volume(z) for z in points]
    assert abs(volumes[1] - volumes[0]) > 1
    values = [float(compiled.log_prob(whitening.position(z))) for z in points]
    expected = values[1] - values[0] + volumes[1] - volumes[0]
    target = flat_target(compiled, whitening, by_value=by_value)
    if by_value:
        found = [float(target.start(z)[0]) for z in points]
        assert found[1] - found[0] == pytest.approx(expected, abs=0.02)
    score = [target.score(target.start(z)[1]) for z in points]
    gradient = jax.grad(lambda z: sum(map(jnp.sum, _value_and_volume(compiled, whitening, z))))
    for z, found in zip(points, score, strict=True):
        np.testing.assert_allclose(found, gradient(z), rtol=1e-3, atol=1e-2)


def test_the_volume_is_counted_beside_a_score_without_value(bent_one):
    """Of a posterior with a term that has a score only the rest has a value, and the volume belongs to it."""
    posterior, position = bent_one
    whitening = local_whitening(posterior, position, bent=True)
    compiled = posterior.for_compilation()
    half = Density(
        log_prob=lambda q: 0.5 * compiled.log_prob(q),
        score=lambda q: jax.tree.map(lambda leaf: 0.5 * leaf, compiled.score(q)),
    )
    z = 0.5 * jax.random.normal(jax.random.key(4), (whitening.size,))
    whole, parts = (
        flat_target(density, whitening, by_value=by_value)
        for density, by_value in ((compiled, True), (half, False))
    )
    found = parts.score(parts.start(z)[1])
    np.testing.assert_allclose(found, whole.score(whole.start(z)[1]), rtol=1e-3, atol=1e-2)


def test_measured_anew_bent_coordinates_move_no_chain(bent_one, key):
    posterior, position = bent_one
    before = local_whitening(posterior, position, bent=True)
    z = 0.5 * jax.random.normal(key, (4, before.size))
    after, moved = recenter(key, posterior, posterior.for_compilation(), before, z)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    was, now = (jax.vmap(w.position)(x) for w, x in ((before, z), (after, moved)))
    for name, leaf in was.items():
        np.testing.assert_allclose(now[name], leaf, atol=5e-3)


def test_the_log_prob_of_draws_is_that_of_positions(bent_one, key):
    posterior, position = bent_one
    draws = sample(key, posterior, HMC(), start=position, num_warmup=20, num_draws=2, progress=False)
    last = {name: jnp.asarray(leaf[1, -1]) for name, leaf in draws.position.items()}
    expected = float(posterior.for_compilation().log_prob(last))
    assert draws.stats["log_prob"][1, -1] == pytest.approx(expected, abs=0.05)


def _value_and_volume(density, whitening, z):
    position, log_volume = whitening.position_and_volume(z)
    return density.log_prob(position), log_volume


def test_bent_coordinates_are_rounder_along_the_amplitude(bent_one):
    """Where the amplitude is twice that at the center, with all that data know of the scatter held."""
    posterior, position = bent_one
    compiled = posterior.for_compilation()

    def steepest(bent):
        whitening = local_whitening(posterior, position, bent=bent)
        target = flat_target(compiled, whitening, by_value=True)
        far = {
            name: value.at[AMPLITUDE_AT].add(1.0) if name.endswith(".image") else value
            for name, value in position.items()
        }
        z = whitening.coordinates(far)
        hessian = jax.jit(jax.hessian(lambda z: -target.start(z)[0]))(z)
        return np.linalg.eigvalsh(np.asarray(hessian, float)).max()

    assert steepest(bent=True) < 0.6 * steepest(bent=False)
