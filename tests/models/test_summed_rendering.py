"""A scene drawn at once is the sum of its sources drawn one by one."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.data.frame import Frame
from scoresample.models.morphology import PixelMorphology, PointSource, SersicProfile, to_coordinate
from scoresample.models.psf import GaussianPSF
from scoresample.models.rendering import make_renderer
from scoresample.models.scene import Scene
from scoresample.models.source import make_source
from scoresample.models.summed_rendering import make_summed_renderer
from scoresample.numerics.fft import fast_shape


def make_psfs(shape=(25, 23)):
    """Return Gaussian PSFs of three widths, so large that they fall to nothing: cut ones ring when deconvolved."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    widths = np.array([1.6, 1.8, 2.0])[:, None, None]
    psfs = np.exp(-0.5 * (y[:, None] ** 2 + x[None, :] ** 2) / widths**2)
    return psfs / psfs.sum((1, 2), keepdims=True)


def make_scene(sources, shape=(33, 27)):
    return Scene(Frame(shape, ("g", "r", "i")), tuple(sources), None, GaussianPSF(0.7))


def pixels(shape, seed):
    """Return an image as rough as can be: moved by parts of a pixel, its ringing would depend on the grid."""
    return PixelMorphology(to_coordinate(jnp.asarray(np.random.default_rng(seed).uniform(0.2, 1, shape))))


AMPLITUDES = np.random.default_rng(1).normal(size=(3, 6))


@eqx.filter_jit
def both_ways(renderer, together, values, amplitudes, unit_flux):
    columns = renderer.columns(values, unit_flux)
    one_by_one = jnp.einsum("bk,kbyx->byx", amplitudes, columns)
    return together.image(values, amplitudes, unit_flux), one_by_one


def images(scene, psfs, unit_flux=True, grid=None):
    renderer = make_renderer(scene, psfs)
    together = make_summed_renderer(renderer, scene, psfs, grid)
    amplitudes = jnp.asarray(AMPLITUDES[:, : len(scene.sources)], jnp.float32)
    return [np.asarray(i) for i in both_ways(renderer, together, scene.parameters, amplitudes, unit_flux)]


def largest_difference(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def make_sources(names):
    kinds = {
        "a": (pixels((9, 9), 0), (16.0, 12.0), None),
        "b": (pixels((9, 9), 1), (1.0, 2.0), None),
        "c": (pixels((7, 13), 2), (29.0, 22.0), None),
        "star": (PointSource(), (5.0, 20.4), 11),
        "disk": (SersicProfile(jnp.array(2.3), jnp.array(1.7), jnp.array([0.2, -0.3])), (20.2, 9.5), 13),
    }
    return [
        make_source(name, kind, center, jnp.ones(3), box=box)
        for name, (kind, center, box) in kinds.items()
        if name in names
    ]


@pytest.mark.parametrize("unit_flux", [True, False])
@pytest.mark.parametrize("names", [["a"], ["a", "b", "c", "star"]])
def test_it_is_the_sum_of_the_columns(names, unit_flux):
    assert largest_difference(*images(make_scene(make_sources(names)), make_psfs(), unit_flux)) < 1e-5


def test_profiles_reach_beyond_their_stamps():
    found, by_stamps = images(make_scene(make_sources(["disk"])), make_psfs())
    assert 1e-5 < largest_difference(found, by_stamps) < 2e-2


@pytest.mark.parametrize("shape", [(26, 40), (70, 12)])
def test_light_that_leaves_the_frame_does_not_come_back(shape):
    image = pixels((15, 15), 3)
    corners = [(0, 0), (shape[0] - 1, shape[1] - 1)]
    sources = [make_source(f"s{k}", image, corner, jnp.ones(3)) for k, corner in enumerate(corners)]
    scene = make_scene([*sources, make_source("star", PointSource(), corners[1], jnp.ones(3), box=11)], shape)
    psfs = make_psfs()
    assert largest_difference(*images(scene, psfs)) < 1e-4
    small = fast_shape(tuple(max(n + 2, 25) for n in shape))  # negative control: hardly wider than the frame
    assert largest_difference(*images(scene, psfs, grid=small)) > 1e-2
