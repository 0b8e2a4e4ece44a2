"""All profiles at once: sizes and fluxes near the truth, beside neighbours too, and what is asked of bad data."""

import os

import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.data.catalog import make_catalog
from scoresample.data.frame import Frame
from scoresample.data.observation import make_observation
from scoresample.errors import ConfigError
from scoresample.models.first_light import measure_light, mirror_minimum
from scoresample.models.initialization import initialize_scene
from scoresample.models.load import load_prior
from scoresample.models.morphology import PointSource, SersicProfile, sersic_transform, to_morphology
from scoresample.models.profile_fit import Profile, fit_profiles, profile_image
from scoresample.models.psf import GaussianPSF
from scoresample.models.rendering import make_renderer
from scoresample.models.scene import Scene
from scoresample.models.source import make_source

SEED = int(os.environ.get("SCORESAMPLE_TEST_SEED", 0))
SHAPE, BANDS = (57, 60), ("g", "r")


def make_psfs():
    y, x = np.indices((21, 21)) - 10
    psfs = np.exp(-0.5 * (y**2 + x**2) / np.array([1.5, 1.7])[:, None, None] ** 2)
    return psfs / psfs.sum((1, 2), keepdims=True)


def simulate(*objects, seed=0):
    """Return images with unit noise, weights and centers of objects (center, radius or None, index, flux in r)."""
    sources = []
    for k, (center, radius, index, flux) in enumerate(objects):
        shape = PointSource()
        if radius is not None:
            shape = SersicProfile(jnp.asarray(float(radius)), jnp.asarray(float(index)), jnp.zeros(2))
        sources.append(make_source(str(k), shape, center, jnp.array([0.7, 1.0]) * flux, box=51))
    scene = Scene(Frame(SHAPE, BANDS), tuple(sources), None, GaussianPSF())
    columns = np.asarray(make_renderer(scene, make_psfs()).columns(scene.parameters))
    images = np.einsum("kb,kbyx->byx", np.asarray(scene.flux), columns) + 0.5
    images = images + np.random.default_rng(SEED + seed).normal(size=images.shape)
    return images, np.ones_like(images), np.array([o[0] for o in objects])


def fit(*objects, weights=None, seed=0):
    images, ones, centers = simulate(*objects, seed=seed)
    weights = ones if weights is None else weights
    stars = np.array([o[1] is None for o in objects])
    return fit_profiles(np.where(weights > 0, images, 0), weights, make_psfs(), centers, stars)


MIDDLE = (28.2, 29.7)


@pytest.mark.parametrize(("radius", "index"), [(0.8, 1), (2.0, 1), (5.0, 1), (2.0, 4)])
def test_a_bright_galaxy_is_known_by_its_size_kind_and_flux(radius, index):
    (profile,) = fit((MIDDLE, radius, index, 8000))
    assert abs(np.log(profile.half_light_radius / radius)) < 0.3
    assert profile.sersic_index == index
    np.testing.assert_allclose(profile.flux, [5600, 8000], rtol=0.1)


def test_a_faint_neighbour_is_no_larger_than_it_is():
    """Light of the brighter one inflates what rings around the fainter one show: the negative control."""
    objects = ((MIDDLE, 3.0, 1, 8000), ((28.0, 38.5), 0.8, 1, 400))
    bright, faint = fit(*objects)
    assert faint.half_light_radius < 1.6 and abs(np.log(bright.half_light_radius / 3.0)) < 0.3
    np.testing.assert_allclose(faint.flux, [280, 400], rtol=0.4)
    images, weights, centers = simulate(*objects)
    images = images - 0.5
    rings = measure_light(mirror_minimum(images, weights, centers[1]), weights, centers[1], make_psfs())
    assert 2 * rings.reach + 1 > 1.5 * 0.8 / 0.085


def test_the_order_of_detections_does_not_matter_much():
    objects = ((MIDDLE, 3.0, 1, 4000), ((28.0, 38.5), 0.8, 1, 800))
    one, other = fit(*objects)
    other_too, one_too = fit(*objects[::-1])
    np.testing.assert_allclose(one.flux, one_too.flux, rtol=0.1)
    np.testing.assert_allclose(other.flux, other_too.flux, rtol=0.2)


def test_a_star_is_a_point_and_its_flux_is_right():
    (profile,) = fit((MIDDLE, None, 1, 3000))
    assert profile.half_light_radius == 0
    np.testing.assert_allclose(profile.flux, [2100, 3000], rtol=0.02)


def test_a_band_without_data_and_two_detections_at_one_place_are_no_trouble():
    weights = np.ones((2, *SHAPE))
    weights[0] = 0
    profiles = fit((MIDDLE, 2.0, 1, 2000), (MIDDLE, 2.0, 1, 10), weights=weights)
    flux = sum(profile.flux for profile in profiles)
    assert flux[0] == 0 and np.isfinite([p.half_light_radius for p in profiles]).all()
    np.testing.assert_allclose(flux[1], 2010, rtol=0.15)


def test_an_image_of_a_profile_has_its_moments_and_its_peak_in_the_middle():
    profile = Profile(2.0, 1.0, (0.0, 0.0), np.ones(1), 1.0)
    image = profile_image(profile, 41, GaussianPSF())
    offset = np.arange(41) - 20
    moment = np.sum(image.sum(axis=1) * offset**2) / image.sum()
    assert image[20, 20] == image.max() == 1
    np.testing.assert_allclose(
        moment, 3 * (2.0 / 1.678) ** 2 + 0.7**2, rtol=0.02
    )  # of an exponential, and the PSF
    np.testing.assert_allclose(image, image.T, atol=1e-6)


def test_the_transform_in_numpy_is_that_of_the_profile():
    shape, e = (30, 33), (0.2, -0.1)
    profile = SersicProfile(jnp.asarray(2.5), jnp.asarray(4.0), jnp.array(e))
    np.testing.assert_allclose(
        sersic_transform(shape, 2.5, 4.0, e), np.real(profile.transform(shape)), atol=2e-4
    )


def test_scenes_begin_with_profiles_where_they_are_asked_for():
    images, weights, centers = simulate((MIDDLE, 2.0, 1, 3000), ((12.0, 14.0), None, 1, 900))
    observation = make_observation(images, weights, make_psfs(), BANDS)
    catalog = make_catalog(centers, is_star=[False, True])
    scene = initialize_scene(observation, catalog, sizes="profiles", two_components_above=1e9)
    assert scene.names == ("galaxy_0", "star_1")
    assert scene.sources[0].shape == (23, 23)  # 2.0 / 0.085 = 24
    np.testing.assert_allclose(scene.flux, [[2100, 3000], [630, 900]], rtol=0.1)
    first = np.asarray(to_morphology(scene.sources[0].morphology.image))
    assert first.max() == pytest.approx(1, rel=1e-3) and first.min() >= 0
    knows_sizes = load_prior("profile")
    wide = initialize_scene(observation, catalog, prior=knows_sizes, two_components_above=1e9)
    assert wide.sources[0].shape == (39, 39)  # 2.0 * 20 = 40
    dim = make_observation(images, 1e-3 * weights, make_psfs(), BANDS)  # a peak of 3 times the noise
    dim = initialize_scene(dim, catalog, prior=knows_sizes)
    assert dim.sources[0].shape < (31, 31)
    with_core = initialize_scene(observation, catalog, sizes="profiles", two_components_above=10.0)
    assert with_core.names == ("galaxy_0", "galaxy_0_core", "star_1")
    with pytest.raises(ConfigError, match="'rings' or 'profiles'"):
        initialize_scene(observation, catalog, sizes="boxes")


def test_the_box_of_a_galaxy_as_large_as_the_image_holds_its_light():
    """Near an edge as well. What a box leaves out a free background would take, and the flux with it."""
    center, radius = (12.0, 8.0), 11.0
    images, weights, centers = simulate((center, radius, 1, 60_000))
    observation = make_observation(images, weights, make_psfs(), BANDS)
    scene = initialize_scene(observation, make_catalog(centers), prior=load_prior("profile"))
    source = scene.sources[0]
    assert source.shape[0] > max(images.shape[1:])
    for at, origin, side, size in zip(center, source.origin, source.shape, images.shape[1:], strict=True):
        assert origin <= 0 and origin + side >= min(size, at + 3.5 * radius)
