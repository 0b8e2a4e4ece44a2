"""Scenes and sources: names, boxes, membership, replacing values."""

import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.data.frame import Frame
from scoresample.errors import DataError, ShapeError
from scoresample.models.morphology import PixelMorphology, PointSource, SersicProfile
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source


def pixels(height=9, width=9):
    return PixelMorphology(jnp.ones((height, width)))


def make_scene(*sources):
    return Scene(Frame((20, 30), ("g", "r")), sources, jnp.array([0.1, 0.2]), GaussianPSF())


@pytest.fixture(scope="module")
def scene():
    profile = SersicProfile(jnp.asarray(2.0), jnp.asarray(1.0), jnp.zeros(2))
    return make_scene(
        make_source("a", pixels(), (5.2, 6.4), jnp.array([1.0, 2.0])),
        make_source("a_core", pixels(5, 5), (5.2, 6.4), jnp.array([3.0, 4.0]), parent="a"),
        make_source("b", PointSource(), (9, 20), jnp.array([5.0, 6.0]), box=11),
        make_source("a2", profile, (12, 12), jnp.array([7.0, 8.0]), box=(13, 15)),
    )


@pytest.mark.parametrize("box", [8, 9, (8, 13)])
def test_boxes_lie_around_the_center_and_move_with_it(box):
    source = make_source("s", PointSource(), (10.5, 7.2), jnp.ones(2), box=box)
    assert np.abs(source.box_center - [10.5, 7.2]).max() <= 0.5
    for shift in [(1, 0), (2, -9), (-13, 5)]:
        moved = make_source("s", PointSource(), np.add((10.5, 7.2), shift), jnp.ones(2), box=box)
        np.testing.assert_array_equal(moved.origin - source.origin, shift)


def test_boxes_that_cannot_be():
    with pytest.raises(ShapeError, match=r"has an image of shape \(9, 9\) but box=11"):
        make_source("s", pixels(), (5, 5), jnp.ones(2), box=11)
    with pytest.raises(ShapeError, match="was given no box"):
        make_source("s", PointSource(), (5, 5), jnp.ones(2))
    assert make_source("s", pixels(8, 9), (5, 5), jnp.ones(2), box=(8, 9)).shape == (8, 9)


def test_objects_are_sources_with_their_components(scene):
    assert scene.names == ("a", "a_core", "b", "a2")
    assert scene.objects == ("a", "b", "a2") and scene.membership == (0, 0, 1, 2)
    np.testing.assert_array_equal(scene.flux, np.arange(1, 9).reshape(4, 2))


def test_parameters_have_full_names(scene):
    assert set(scene.parameters) == {
        *("a.image", "a.center", "a_core.image", "a_core.center", "b.center", "a2.center"),
        *("a2.half_light_radius", "a2.sersic_index", "a2.ellipticity"),
    }


def test_replacing_changes_what_is_named_and_nothing_else(scene):
    new = {
        "a.image": 2 * jnp.ones((9, 9)),
        "a2.center": jnp.array([1.0, 2.0]),
        "a2.sersic_index": jnp.asarray(3.0),
    }
    changed = scene.replace(new, flux=2 * scene.flux, background=jnp.zeros(2))
    for name, value in scene.parameters.items():
        np.testing.assert_array_equal(changed.parameters[name], new.get(name, value), err_msg=name)
    np.testing.assert_array_equal(changed.flux, 2 * scene.flux)
    np.testing.assert_array_equal(changed.background, 0)
    np.testing.assert_array_equal(scene.replace({}).background, scene.background)
    assert changed.objects == scene.objects
    np.testing.assert_array_equal(changed.sources[3].origin, scene.sources[3].origin)


def test_a_scene_needs_sources_with_names_of_their_own():
    with pytest.raises(DataError, match="no sources"):
        make_scene()
    source = make_source("s", PointSource(), (5, 5), jnp.ones(2), box=9)
    with pytest.raises(DataError, match="'s' appears twice"):
        make_scene(source, source)


def test_a_scene_says_what_is_in_it(scene):
    assert repr(scene) == "Scene of 20 x 30 pixels in gr: 2 PixelMorphology, 1 PointSource, 1 SersicProfile"
