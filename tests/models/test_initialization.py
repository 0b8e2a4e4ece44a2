"""First guesses: boxes as large as galaxies, blind to bright stars and to neighbours; fluxes near the truth."""

import dataclasses
import importlib.resources
import os
import warnings

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.data.catalog import make_catalog
from scoresample.data.frame import Frame
from scoresample.data.observation import make_observation
from scoresample.data.readers import read_catalog, read_observation
from scoresample.errors import DataError
from scoresample.models.first_light import flux_within, measure_light, mirror_minimum, sky_level
from scoresample.models.initialization import COMPACT_BOX, gaussian_morphology, initialize_scene
from scoresample.models.load import load_prior
from scoresample.models.morphology import PointSource, SersicProfile, to_morphology
from scoresample.models.psf import GaussianPSF
from scoresample.models.rendering import make_renderer
from scoresample.models.scene import Scene
from scoresample.models.source import make_source

SEED = int(os.environ.get("SCORESAMPLE_TEST_SEED", 0))
SHAPE, BANDS, SKY = (75, 71), ("g", "r"), np.array([0.4, -0.3])
COLUMNS = eqx.filter_jit(lambda renderer, values: renderer.columns(values))
WIDTHS = np.array([1.5, 1.7])[:, None, None]


def make_psfs():
    y, x = np.indices((21, 21)) - 10
    psfs = np.exp(-0.5 * (y**2 + x**2) / WIDTHS**2)
    return psfs / psfs.sum((1, 2), keepdims=True)


def simulate(*objects, seed=0, ellipticity=(0.2, 0.1)):
    """Return an observation with unit noise of objects (center, radius or None for a star, flux in r)."""
    sources = []
    for index, (center, radius, flux) in enumerate(objects):
        shape = PointSource()
        if radius is not None:
            shape = SersicProfile(jnp.asarray(float(radius)), jnp.asarray(1.0), jnp.array(ellipticity))
        sources.append(make_source(str(index), shape, center, jnp.array([0.7, 1.0]) * flux, box=61))
    scene = Scene(Frame(SHAPE, BANDS), tuple(sources), None, GaussianPSF())
    columns = np.asarray(COLUMNS(make_renderer(scene, make_psfs()), scene.parameters))
    images = np.einsum("kb,kbyx->byx", np.asarray(scene.flux), columns) + SKY[:, None, None]
    images = images + np.random.default_rng(SEED + seed).normal(size=images.shape)
    catalog = make_catalog([o[0] for o in objects], is_star=[o[1] is None for o in objects])
    return make_observation(images, np.ones_like(images), make_psfs(), BANDS), catalog


def as_galaxies(catalog):
    return make_catalog(catalog.centers)


MIDDLE = (36.2, 34.7)


def test_boxes_grow_with_the_size_of_a_galaxy():
    boxes = []
    for radius, flux in [(1.0, 500), (3.0, 1500), (6.0, 4000)]:
        (source,) = initialize_scene(*simulate((MIDDLE, radius, flux)), two_components_above=1e9).sources
        boxes.append(source.shape[0])
        assert source.shape[0] == source.shape[1]
        assert np.abs(source.box_center - MIDDLE).max() <= 0.5
    assert boxes == sorted(set(boxes)), boxes
    assert boxes[0] <= 25 and boxes[2] >= 39


@pytest.mark.parametrize("flux", [300, 3000, 30_000, 300_000])
def test_boxes_do_not_grow_with_the_brightness_of_a_star(flux):
    observation, catalog = simulate((MIDDLE, None, flux))
    (source,) = initialize_scene(observation, as_galaxies(catalog), two_components_above=1e9).sources
    assert source.shape == (9, 9)
    together = initialize_scene(observation, as_galaxies(catalog)).sources
    assert [source.shape for source in together] == ([(9, 9)] if flux == 300 else [(23, 23), (17, 17)])


def test_boxes_are_those_that_the_prior_knows():
    """A small galaxy has the smallest; stars have theirs, whatever the prior."""
    observation, catalog = simulate((MIDDLE, 0.5, 60))
    for name, least in [("log-gaussian", 9), ("gaussian", 9), ("galaxies", 17)]:
        prior = load_prior(name)
        (source,) = initialize_scene(observation, catalog, prior=prior, two_components_above=1e9).sources
        assert source.shape == (least, least)
        prior.for_shape(source.shape)
    star = dataclasses.replace(catalog, is_star=np.ones(1, bool))
    assert initialize_scene(observation, star).sources[0].shape == (COMPACT_BOX, COMPACT_BOX)


def second_moments(source):
    """Return the second moments, (y, x) by (y, x), of the image of a source."""
    image = np.asarray(to_morphology(source.morphology.image))
    offset = np.indices(image.shape) - (np.array(image.shape)[:, None, None] - 1) / 2
    return np.einsum("yx,iyx,jyx->ij", image, offset, offset) / image.sum()


AT_THE_EDGE = (8.3, 34.7)


@pytest.mark.parametrize("along", ["x", "y"])
def test_a_long_galaxy_has_a_box_that_holds_it(along):
    """Beside an edge as well; the box of a galaxy whose light is as far out on average but round is no larger."""
    center = AT_THE_EDGE if along == "x" else AT_THE_EDGE[::-1]
    boxes = []
    for ellipticity in ((0.5, 0.0) if along == "x" else (-0.5, 0.0), (0.0, 0.0)):
        observation, catalog = simulate((center, 5.0, 8000), ellipticity=ellipticity)
        (source,) = initialize_scene(observation, catalog, two_components_above=1e9).sources
        boxes.append(source.shape[0])
    scale = 5.0 * np.sqrt(3) / 1.678  # of the exponential disk along its longer axis
    assert (1 + boxes[0] / 2 / scale) * np.exp(-boxes[0] / 2 / scale) < 0.03
    assert boxes[1] < boxes[0]


@pytest.mark.parametrize("angle", [0.0, 40.0, 90.0])
def test_first_images_are_as_long_as_galaxies_and_lie_as_they_do(angle):
    turn = 2 * np.radians(angle)  # from x to y
    observation, catalog = simulate((MIDDLE, 3.0, 6000), ellipticity=(0.4 * np.cos(turn), 0.4 * np.sin(turn)))
    (source,) = initialize_scene(observation, catalog, two_components_above=1e9).sources
    values, axes = np.linalg.eigh(second_moments(source))
    # The galaxy has an axis ratio of 0.43; the circle that its moments are taken in cuts the longer axis.
    assert 0.35 < np.sqrt(values[0] / values[1]) < 0.65
    along = axes[:, 1]
    assert abs(along @ [np.sin(np.radians(angle)), np.cos(np.radians(angle))]) > np.cos(np.radians(8))


def test_first_images_of_round_galaxies_and_of_noise_are_about_round():
    """Negative control: no galaxy that is round, bright or faint, begins long; nor beside a brighter one."""
    neighbour = ((MIDDLE[0], MIDDLE[1] + 18), 2.5, 6000)
    for objects in [((MIDDLE, 3.0, 6000),), ((MIDDLE, 2.0, 300),), ((MIDDLE, 3.0, 3000), neighbour)]:
        observation, catalog = simulate(*objects, ellipticity=(0.0, 0.0))
        source = initialize_scene(observation, catalog, two_components_above=1e9).sources[0]
        values = np.linalg.eigvalsh(second_moments(source))
        assert np.sqrt(values[0] / values[1]) > 0.7, objects


def test_a_gaussian_has_the_moments_it_is_given():
    moments = np.array([[6.0, -3.0], [-3.0, 9.0]])
    source = make_source("a", gaussian_morphology(41, moments), (20.0, 20.0), jnp.ones(1))
    np.testing.assert_allclose(second_moments(source), moments, rtol=1e-3)
    np.testing.assert_allclose(
        gaussian_morphology(11, 2.0).image, gaussian_morphology(11, 4.0 * np.eye(2)).image, atol=1e-5
    )


def test_a_neighbour_does_not_inflate_the_box():
    alone = initialize_scene(*simulate((MIDDLE, 2.0, 800))).sources[0]
    neighbour = ((MIDDLE[0], MIDDLE[1] + 16), 2.5, 6000)
    blended = initialize_scene(*simulate((MIDDLE, 2.0, 800), neighbour)).sources[0]
    assert blended.shape == alone.shape
    ratio = np.asarray(blended.flux / alone.flux)
    assert (ratio > 0.6).all() and (ratio < 1.7).all()


def test_first_fluxes_and_sky_are_near_the_truth():
    objects = [(MIDDLE, 2.5, 900), ((20.0, 18.4), 1.5, 400), ((55.6, 50.2), None, 500)]
    scene = initialize_scene(*simulate(*objects))
    truth = np.array([o[2] for o in objects])[:, None] * np.array([0.7, 1.0])
    ratio = np.asarray(scene.flux) / truth
    assert (ratio > 1 / 3).all() and (ratio < 3).all()
    np.testing.assert_allclose(scene.background, SKY, atol=0.15)


def test_stars_are_points_and_galaxies_are_pixels():
    scene = initialize_scene(*simulate((MIDDLE, None, 900), ((20.0, 18.4), 1.5, 400)))
    assert scene.names == ("star_0", "galaxy_1")
    assert isinstance(scene.sources[0].morphology, PointSource)
    assert initialize_scene(*simulate((MIDDLE, None, 900)), background=False).background is None


def test_bright_extended_galaxies_get_a_core_with_its_own_colour():
    scene = initialize_scene(*simulate((MIDDLE, 4.0, 20_000), ((14.0, 14.0), 2.0, 500)))
    assert scene.names == ("galaxy_0", "galaxy_0_core", "galaxy_1")
    assert scene.objects == ("galaxy_0", "galaxy_1") and scene.membership == (0, 0, 1)
    np.testing.assert_allclose(scene.flux[0] / scene.flux[1], 7 / 3, rtol=1e-4)
    single = initialize_scene(*simulate((MIDDLE, 4.0, 20_000)), two_components_above=1e9)
    assert single.names == ("galaxy_0",)


def test_detections_off_the_image_or_the_data_are_refused():
    observation, _ = simulate((MIDDLE, 2.0, 500))
    with pytest.raises(DataError, match="is outside the image"):
        initialize_scene(observation, make_catalog([[80.0, 10.0]]))
    weights = np.ones((2, *SHAPE))
    weights[:, 10:13, 10:13] = 0
    masked = make_observation(np.asarray(observation.images), weights, make_psfs(), BANDS)
    with pytest.raises(DataError, match="is on a pixel that is masked"):
        initialize_scene(masked, make_catalog([[11.0, 11.0]]))


def test_boxes_reach_over_small_images_and_no_further():
    observation, catalog = simulate((MIDDLE, 6.0, 4000))
    cut = (slice(None), slice(22, 51), slice(20, 50))
    small = make_observation(observation.images[cut], observation.inverse_variance[cut], make_psfs(), BANDS)
    scene = initialize_scene(small, make_catalog(catalog.centers - [22, 20]))
    assert scene.sources[0].shape == (31, 31)  # it would be larger in a larger image
    assert initialize_scene(observation, catalog).sources[0].shape > (31, 31)


def test_the_mirror_minimum_of_noise_is_unbiased():
    rng = np.random.default_rng(SEED + 7)
    noise, weights = rng.normal(size=(1, 200, 201)), np.ones((1, 200, 201))
    center = (99.5, 100.0)
    error = 1 / np.sqrt(noise.size / 2)  # of the mean, since pixels come in pairs
    assert abs(mirror_minimum(noise, weights, center).mean()) < 5 * error
    assert np.minimum(noise, noise[:, ::-1, ::-1]).mean() < -0.5  # negative control: the plain minimum


def test_the_mirror_minimum_takes_neighbours_away_but_no_masked_pixels():
    images, weights = np.ones((1, 9, 9)), np.full((1, 9, 9), 1e6)
    images[0, 2, 3] = 50.0
    images[0, 6, 1], weights[0, 6, 1] = 0.0, 0.0
    mirrored = mirror_minimum(images, weights, (4.0, 4.0))
    assert abs(mirrored[0, 2, 3] - 1) < 0.01  # the neighbour
    assert mirrored[0, 2, 7] == 1.0  # opposite of the masked pixel
    np.testing.assert_allclose(flux_within(np.ones((1, 9, 9)), (4.0, 4.0), 1.0), [5.0])


def test_the_reach_is_beyond_the_radius_and_holds_the_light():
    observation, catalog = simulate((MIDDLE, 3.0, 3000))
    images = np.asarray(observation.images, float) - SKY[:, None, None]
    light = measure_light(images, np.ones_like(images), catalog.centers[0], make_psfs())
    scale = 3.0 / 1.678  # of the exponential disk
    outside = (1 + light.reach / scale) * np.exp(-light.reach / scale)
    assert light.radius <= light.reach and outside < 0.03 and light.peak > 10


def test_the_sky_level_ignores_sources_and_masked_pixels():
    image = np.random.default_rng(SEED).normal(3.0, 1.0, (40, 40))
    image[:8, :8] += 100
    weight = np.ones((40, 40))
    image[30:], weight[30:] = 1e6, 0
    assert abs(sky_level(image, weight) - 3) < 0.25
    assert sky_level(image, np.zeros((40, 40))) == 0


def test_boxes_of_the_demo_scene_cut_little_light():
    galsim = pytest.importorskip("galsim", reason="galaxies are drawn with the extra 'sim' (galsim)")
    from scoresample.training.demo_scene import make_sources

    resource = importlib.resources.files("scoresample.resources") / "demo_scene.npz"
    with importlib.resources.as_file(resource) as path:
        scene = initialize_scene(read_observation(path), read_catalog(path))
    assert len(scene.sources) == 5
    for source, truth in zip(scene.sources, make_sources(), strict=True):
        if truth.is_star:
            assert isinstance(source.morphology, PointSource)
            continue
        profile = truth.profile(band=3)
        offset = np.array(truth.center) - source.box_center
        image = galsim.Convolve(profile, galsim.Gaussian(sigma=0.7)).drawImage(
            nx=source.shape[1], ny=source.shape[0], scale=1.0, offset=tuple(offset[::-1]), method="no_pixel"
        )
        assert 1 - image.array.sum() / profile.flux < 0.015, source.name
        assert source.shape[0] <= 39


def test_boxes_of_the_real_scene(shared_data):
    path = shared_data / "hsc_cosmos_35.npz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scene = initialize_scene(read_observation(path), read_catalog(path))
    boxes = {s.name: s.shape[0] for s in scene.sources}
    assert boxes["galaxy_1"] == 31 and boxes["galaxy_0"] == 23
    assert max(n for name, n in boxes.items() if name != "galaxy_1") <= 25
