"""Stars tell when the PSFs are in another order, or too narrow; and are silent when all is well."""

import warnings

import numpy as np
import pytest

from scoresample.data.catalog import make_catalog
from scoresample.data.demo import load_demo
from scoresample.data.observation import make_observation
from scoresample.data.readers import read_catalog, read_observation
from scoresample.errors import DataError, ScoresampleWarning
from scoresample.models.initialization import initialize_scene
from scoresample.models.psf_check import likely_psf_order, needle_psfs, warn_of_psfs, wide_stars

BANDS = ("g", "r", "i", "z")
WIDTHS = np.array([1.3, 1.5, 1.8, 2.2])
CENTERS = np.array([[14.3, 13.8], [15.6, 36.2]])
ORDER = [2, 0, 3, 1]


def gaussian(shape, center, sigma):
    y, x = np.indices(shape)
    return np.exp(-0.5 * ((y - center[0]) ** 2 + (x - center[1]) ** 2) / sigma**2) / (2 * np.pi * sigma**2)


def make_stars(seed, signal, widths=WIDTHS, psf_widths=WIDTHS, noise=1.0):
    """Two stars on a slope of light; the detections are off by a third of a pixel."""
    rng, shape = np.random.default_rng(seed), (30, 50)
    slope = 0.3 * np.indices(shape)[1]
    images = np.stack([sum(signal * gaussian(shape, c, w) for c in CENTERS) + slope for w in widths])
    images = images + noise * rng.normal(size=images.shape)
    psfs = np.stack([gaussian((21, 21), (10, 10), w) for w in psf_widths])
    psfs /= psfs.sum(axis=(1, 2), keepdims=True)  # narrow ones do not sum to 1 over pixels
    observation = make_observation(images, np.full(images.shape, noise**-2), psfs, BANDS, name="stars")
    return observation, make_catalog(CENTERS + 0.3, is_star=[True, True])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("signal", [50.0, 3000.0])
def test_right_psfs_pass_in_silence(seed, signal):
    observation, catalog = make_stars(seed, signal)
    assert likely_psf_order(observation, catalog) is None
    assert len(wide_stars(observation, catalog)) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", ScoresampleWarning)
        initialize_scene(observation, catalog)


def test_another_order_is_found_and_named(seed_shift):
    observation, catalog = make_stars(seed_shift, 3000.0, psf_widths=WIDTHS[ORDER])
    assert likely_psf_order(observation, catalog) == tuple(BANDS[k] for k in ORDER)
    with pytest.warns(ScoresampleWarning, match="--psf-bands i,g,z,r"):
        initialize_scene(observation, catalog)


def test_faint_stars_cannot_tell(seed_shift):
    observation, catalog = make_stars(seed_shift, 50.0, psf_widths=WIDTHS[ORDER])
    assert likely_psf_order(observation, catalog) is None


def test_psfs_too_narrow_are_found(seed_shift):
    observation, catalog = make_stars(seed_shift, 3000.0, psf_widths=WIDTHS / 1.5)
    assert list(wide_stars(observation, catalog)) == [0, 1]
    with pytest.warns(ScoresampleWarning, match="wider than the PSFs"):
        initialize_scene(observation, catalog)


def test_without_stars_or_with_one_band_there_is_nothing_to_tell():
    observation, catalog = make_stars(0, 3000.0, psf_widths=WIDTHS[ORDER])
    assert likely_psf_order(observation, make_catalog(catalog.centers)) is None
    assert len(wide_stars(observation, make_catalog(catalog.centers))) == 0


def test_the_demo_scene_passes():
    observation, catalog = load_demo()
    assert likely_psf_order(observation, catalog) is None and len(wide_stars(observation, catalog)) == 0


def test_a_psf_of_one_pixel_is_warned_of_without_stars(seed_shift):
    observation, catalog = make_stars(seed_shift, 3000.0)
    galaxies = make_catalog(catalog.centers)
    warn_of_psfs(observation, galaxies)  # in silence
    sharp, _ = make_stars(seed_shift, 3000.0, psf_widths=np.array([0.35, *WIDTHS[1:]]))
    np.testing.assert_array_equal(needle_psfs(np.asarray(sharp.psfs)), np.arange(len(BANDS)) == 0)
    with pytest.warns(ScoresampleWarning, match=f"stars: the PSF of {BANDS[0]} has most of its light in one"):
        warn_of_psfs(sharp, galaxies)


@pytest.mark.filterwarnings("ignore::scoresample.errors.ScoresampleWarning")
def test_the_simulated_scenes_have_psfs_that_their_stars_contradict(shared_data):
    path = shared_data / "psf_unmatched_sim.npz"
    catalog = read_catalog(path)
    assert likely_psf_order(read_observation(path), catalog) == tuple("rzgiuy")
    mended = read_observation(path, psf_bands="rzgiuy")
    assert likely_psf_order(mended, catalog) is None and len(wide_stars(mended, catalog)) == 0
    path = shared_data / "psf_matched_sim.npz"
    catalog = read_catalog(path)
    np.testing.assert_array_equal(
        wide_stars(read_observation(path), catalog), np.flatnonzero(catalog.is_star)
    )


def test_psf_bands_that_are_not_those_of_the_images_are_refused(shared_data):
    with pytest.raises(DataError, match="must have each of u, g, r, i, z, y once"):
        read_observation(shared_data / "psf_unmatched_sim.npz", psf_bands=("r", "g"))
