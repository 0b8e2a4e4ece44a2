"""Identities of rendering: linear, shifts with its sources, blind to order, grouping and frame, differentiable."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.data.frame import Frame
from scoresample.models.morphology import (
    GaussianProfile,
    PixelMorphology,
    PointSource,
    SersicProfile,
    to_coordinate,
    to_morphology,
)
from scoresample.models.psf import GaussianPSF
from scoresample.models.rendering import make_renderer
from scoresample.models.scene import Scene
from scoresample.models.source import make_source

BANDS = ("g", "r", "i")
SHAPE = (33, 27)
COLUMNS = eqx.filter_jit(lambda renderer, values: renderer.columns(values))


def make_psfs(shape=(15, 12)):
    """Return Gaussian PSFs of three widths, off-center by less than a pixel, normalized."""
    y, x = np.indices(shape)
    middle_y, middle_x = (shape[0] - 1) / 2 + 0.1, (shape[1] - 1) / 2 - 0.2
    widths = np.array([1.3, 1.6, 2.0])[:, None, None]
    psfs = np.exp(-0.5 * ((y - middle_y) ** 2 + (x - middle_x) ** 2) / widths**2)
    return psfs / psfs.sum((1, 2), keepdims=True)


def make_sources(shift=(0.0, 0.0), names="abcdef"):
    """Return a source of every kind, or those named; two boxes reach over the edges of a frame of 33 x 27 pixels."""
    rng = np.random.default_rng(4)
    image = lambda h, w: PixelMorphology(to_coordinate(jnp.asarray(rng.uniform(0, 1, (h, w)))))
    number, pair = lambda v: jnp.asarray(float(v)), lambda a, b: jnp.array([a, b])
    parts = [
        ("a", image(9, 9), (16.3, 12.6), None),
        ("b", PointSource(), (5.0, 20.4), 11),
        ("c", image(9, 9), (1.7, 2.2), None),
        ("d", SersicProfile(number(2.3), number(1.7), pair(0.2, -0.3)), (20.2, 9.5), (11, 13)),
        ("e", image(8, 13), (29.6, 22.1), None),
        ("f", GaussianProfile(number(1.9), pair(-0.4, 0.1)), (14.0, 25.8), 11),
    ]
    place = lambda center: np.array(center) + shift
    flux = jnp.arange(1.0, 4.0)
    return [
        make_source(name, shape, place(center), flux, box=box)
        for name, shape, center, box in parts
        if name in names
    ]


def make_scene(sources, shape=SHAPE):
    return Scene(Frame(shape, BANDS), tuple(sources), None, GaussianPSF(0.7))


def columns(scene, psfs):
    return np.asarray(COLUMNS(make_renderer(scene, psfs), scene.parameters))


@pytest.fixture(scope="module")
def psfs():
    return make_psfs()


@pytest.fixture(scope="module")
def reference(psfs):
    """Columns of all sources in the usual frame."""
    return columns(make_scene(make_sources()), psfs)


def assert_same(images, expected, tolerance=3e-6):
    np.testing.assert_allclose(images, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_the_scale_of_a_morphology_is_not_its_flux(psfs, reference):
    scene = make_scene(make_sources())
    image = scene.parameters["a.image"]
    scaled = scene.replace({"a.image": to_coordinate(7 * to_morphology(image))})
    assert_same(columns(scaled, psfs), reference, 1e-5)
    changed = scene.replace({"a.image": image + 1})  # negative control
    assert np.abs(columns(changed, psfs) - reference)[0].max() > 1e-2 * reference[0].max()


@pytest.mark.parametrize("shift", [(3, -2), (-1, 1)])
def test_whole_pixel_shifts_move_the_image(psfs, reference, shift):
    moved = columns(make_scene(make_sources(shift)), psfs)
    dy, dx = shift
    old = reference[..., max(-dy, 0) : SHAPE[0] - max(dy, 0), max(-dx, 0) : SHAPE[1] - max(dx, 0)]
    new = moved[..., max(dy, 0) : SHAPE[0] + min(dy, 0), max(dx, 0) : SHAPE[1] + min(dx, 0)]
    assert_same(new, old)


def test_centers_move_sources_out_of_the_middle_of_their_boxes(psfs, reference):
    scene = make_scene(make_sources())
    centers = {f"{s.name}.center": s.center + jnp.array([2.0, 1.0]) for s in scene.sources}
    moved = columns(scene.replace(centers), psfs)
    both = columns(make_scene(make_sources((2.0, 1.0))), psfs)
    assert_same(moved, both, 1e-2)  # but for the tails that a stamp cuts
    assert np.abs(moved - reference).max() > 0.2 * reference.max()


@pytest.mark.parametrize("order", [[4, 2, 1, 0], [0], [2], [3]])
def test_each_source_is_drawn_as_if_it_were_alone_in_any_order(psfs, reference, order):
    sources = make_sources()
    assert_same(columns(make_scene([sources[i] for i in order]), psfs), reference[order])


@pytest.mark.parametrize("shape", [(9, 11), (70, 12), (13, 80), (64, 61)])
def test_the_frame_is_a_window(psfs, reference, shape):
    height, width = (min(a, b) for a, b in zip(shape, SHAPE, strict=True))
    window = (..., slice(height), slice(width))
    small = columns(make_scene(make_sources(names="abe"), shape), psfs)
    assert small.shape == (3, 3, *shape)
    # Rounding is that of the peaks, which the smallest frame does not show.
    np.testing.assert_allclose(
        small[window], reference[[0, 1, 4]][window], rtol=0, atol=3e-7 * reference.max()
    )
    with jax.enable_x64(True):
        small, large = (columns(make_scene(make_sources(names="abe"), size), psfs) for size in (shape, SHAPE))
        assert_same(small[window], large[window])


def test_flux_is_conserved_in_a_large_frame(psfs):
    images = columns(make_scene(make_sources((30.0, 30.0)), (95, 90)), psfs)
    np.testing.assert_allclose(images.sum((2, 3)), 1, atol=2e-5)


def test_without_psfs_a_scene_has_the_resolution_of_its_model():
    rng = np.random.default_rng(0)
    morphology = rng.uniform(0, 1, (7, 9))
    sources = [
        make_source("p", PixelMorphology(to_coordinate(jnp.asarray(morphology))), (16, 12), jnp.ones(3)),
        make_source("s", PointSource(), (10, 14), jnp.ones(3), box=15),
    ]
    images = columns(make_scene(sources), None)
    expected = np.zeros(SHAPE)
    expected[13:20, 8:17] = morphology / morphology.sum()
    assert_same(images[0, 0], expected)
    y, x = np.indices(SHAPE)
    narrow = np.exp(-0.5 * ((y - 10) ** 2 + (x - 14) ** 2) / 0.7**2) / (2 * np.pi * 0.7**2)
    assert (
        np.abs(images[1, 0] - narrow).max() < 0.06 * narrow.max()
    )  # sigma 0.7 is undersampled: 4.5 % at Nyquist


def test_many_scenes_at_once(psfs):
    scene = make_scene(make_sources(names="ad"))
    renderer = make_renderer(scene, psfs)
    scales = jnp.array([0.8, 1.0, 1.1])
    batch = jax.tree.map(lambda v: jnp.stack([v * s for s in scales]), scene.parameters)
    together = eqx.filter_jit(eqx.filter_vmap(lambda r, v: r.columns(v), in_axes=(None, 0)))(renderer, batch)
    for index in range(3):
        alone = COLUMNS(renderer, jax.tree.map(lambda v, index=index: v[index], batch))
        assert_same(np.asarray(together[index]), np.asarray(alone))


def test_single_precision_agrees_with_double(psfs):
    images = {}
    for wide in (False, True):
        with jax.enable_x64(wide):
            scene = make_scene(make_sources())
            images[wide] = columns(scene, psfs)
    assert images[False].dtype == np.float32 and images[True].dtype == np.float64
    assert_same(images[False].astype(float), images[True], 1e-5)


def test_gradients_agree_with_finite_differences(psfs):
    """Of every parameter, along a random direction, in double precision."""
    with jax.enable_x64(True):
        scene = make_scene(make_sources(names="adf"))
        renderer = make_renderer(scene, psfs[:1])
        # By way of numpy, which knows no weak types: they would have every call compiled anew.
        values = {name: jnp.asarray(np.asarray(value)) for name, value in scene.parameters.items()}
        rng = np.random.default_rng(1)
        weight = jnp.asarray(rng.normal(size=(3, 1, *SHAPE)))
        loss = jax.jit(jax.value_and_grad(lambda v: jnp.sum(weight * renderer.columns(v))))
        gradient = loss(values)[1]
        for name, value in values.items():
            direction = jnp.asarray(rng.normal(size=value.shape))
            ends = [float(loss(values | {name: value + step * direction})[0]) for step in (-1e-5, 1e-5)]
            slope = float(jnp.sum(gradient[name] * direction))
            assert abs(slope) > 1e-4, f"{name} does not matter"
            np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 2e-5, rtol=1e-6, atol=1e-9, err_msg=name)
