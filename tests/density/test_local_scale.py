"""The local scale of a posterior: names, sizes, and a rounder density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.density import information as information_module
from scoresample.density import local_scale as module
from scoresample.density.information import information_of, make_seen
from scoresample.density.posterior import Posterior
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.log_gaussian_prior import load_log_gaussian_prior
from scoresample.numerics.trees import flatten
from scoresample.samplers.whitening import local_whitening


@pytest.fixture
def posterior(make_scene):
    return Posterior(*make_scene(galaxies=True, background=False), image=load_gaussian_prior())


def condition(posterior, whiten):
    """Condition number of the negative Hessian at the start, in coordinates that ``whiten`` maps to positions."""
    size = flatten(posterior.initial_position())[0].size
    density = posterior.for_map(posterior.initial_position())
    hessian = jax.jit(jax.hessian(lambda z: -density.log_prob(whiten(z))))(jnp.zeros(size))
    values = np.abs(np.linalg.eigvalsh(np.asarray(hessian, float)))
    return values.max() / values.min()


def test_every_parameter_appears_once_with_its_size(posterior):
    position = posterior.initial_position()
    blocks = posterior.local_scale(position)
    assert sorted(name for names, _ in blocks for name in names) == sorted(position)
    for names, scale in blocks:
        assert scale.size == sum(position[name].size for name in names)


@pytest.mark.parametrize("max_dense", [1000, 0])
@pytest.mark.parametrize("image", [load_gaussian_prior(), load_log_gaussian_prior()], ids=lambda p: p.name)
def test_coordinates_are_rounder_by_it(make_scene, monkeypatch, max_dense, image):
    posterior = Posterior(*make_scene(galaxies=True, background=False), image=image)
    monkeypatch.setattr(module, "MAX_DENSE", max_dense)
    monkeypatch.setattr(module, "NUM_DIRECTIONS", 25)
    position = posterior.initial_position()
    flat, unflatten = flatten(position)
    whitening = local_whitening(posterior, position)
    bare = condition(posterior, lambda z: unflatten(flat + z))
    white = condition(posterior, whitening.position)
    assert bare > 300
    assert white < 0.1 * bare


@pytest.mark.parametrize("max_dense", [1000, 0])
def test_it_changes_coordinates_and_nothing_else(posterior, monkeypatch, max_dense):
    monkeypatch.setattr(module, "MAX_DENSE", max_dense)
    monkeypatch.setattr(module, "NUM_DIRECTIONS", 25)
    position = posterior.initial_position()
    whitening = local_whitening(posterior, position)
    moved = {name: value + 0.3 for name, value in position.items()}
    back = whitening.position(whitening.coordinates(moved))
    for name in moved:
        np.testing.assert_allclose(back[name], moved[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("members", [[0], [0, 1]])
@pytest.mark.parametrize("shape", [(13, 13), (9, 9)])  # in the smaller one boxes reach over the edge
def test_the_information_of_large_boxes_is_that_of_small_ones(make_scene, monkeypatch, members, shape):
    """Products with the matrix, which is never formed for large boxes, against the matrix."""
    monkeypatch.setattr(information_module, "MAX_DENSE_PIXELS", 0)
    scene = make_scene(galaxies=True, background=False, shape=shape)
    posterior = Posterior(*scene, image=load_gaussian_prior())
    position = posterior.initial_position()
    brightness = np.asarray(posterior.brightness(position), float)
    values = posterior.values(position)
    information = information_of(posterior, make_seen(posterior), members, values, {}, brightness)
    dense = information.dense()
    v = np.random.default_rng(3).normal(size=(len(dense), 4))
    np.testing.assert_allclose(information.apply(v), dense @ v, rtol=1e-8, atol=1e-8 * abs(dense).max())
