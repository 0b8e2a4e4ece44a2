"""Noise estimated from images: on simulations with known noise, and on the scenes with truth."""

import warnings

import numpy as np
import pytest

from scoresample.data.gain import denoise, fit_slope
from scoresample.data.noise import estimate_variance, psf_width, sky_statistics
from scoresample.data.readers import read_observation
from scoresample.errors import DataError, ScoresampleWarning

SIGMA = 3.0
SHAPE = (60, 60)
BANDS = ("g", "r")


def gaussian(shape, center, sigma):
    """A Gaussian of sum 1."""
    y, x = np.indices(shape)
    out = np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / (2 * sigma**2))
    return out / out.sum()


PSF = gaussian((21, 21), (10, 10), 1.9)
SIGNAL = 2e4 * gaussian(SHAPE, (25, 30), 4.0) + 6e3 * gaussian(SHAPE, (38, 20), 1.9)


def scene(rng, gain=None, level=0.0, counts=False):
    """Two bands of the signal with sky noise SIGMA, and source noise when there is a gain."""
    if counts:
        return rng.poisson(np.stack([SIGNAL, SIGNAL]) + SIGMA**2) - SIGMA**2
    variance = SIGMA**2 + (0 if gain is None else SIGNAL / gain)
    return level + SIGNAL + np.sqrt(variance) * rng.normal(size=(2, *SHAPE))


def estimate(images, used=None, message=None):
    """Variance of a scene, requiring the warning."""
    used = np.ones(images.shape, bool) if used is None else used
    with pytest.warns(ScoresampleWarning, match=message):
        return estimate_variance(images.astype(float), np.stack([PSF, PSF]), used, BANDS, source="a.npz")


@pytest.fixture
def rng(seed_shift):
    return np.random.default_rng(11 + seed_shift)


def test_psf_width():
    assert psf_width(PSF) == pytest.approx(1.9, rel=1e-3)


@pytest.mark.parametrize("level", [0.0, -50.0, 1e4])
def test_sky_of_a_crowded_image(rng, level):
    image = scene(rng, level=level)[0]
    got, sigma = sky_statistics(image, PSF, np.ones(SHAPE, bool))
    assert sigma == pytest.approx(SIGMA, rel=0.08)
    assert got == pytest.approx(level, abs=0.15 * SIGMA)


def test_all_pixels_would_give_another_sky(rng):
    """Negative control: without leaving objects out the scatter is far off."""
    assert scene(rng)[0].std() > 2 * SIGMA


@pytest.mark.parametrize("gain", [0.5, 4.0])
def test_slope(rng, gain):
    used = np.ones(SHAPE, bool)
    fits = [fit_slope(image, used, PSF, 0.0, SIGMA) for _ in range(4) for image in scene(rng, gain)]
    z = [(fit.slope - 1 / gain) / fit.error for fit in fits]
    assert np.abs(np.mean(z)) < 4 / np.sqrt(len(z)) + 0.5  # 0.5: the scatter of the slope is a little skewed
    assert max(np.abs(z)) < 5
    if gain < 1:
        assert min(fit.slope / fit.error for fit in fits) > 3


def test_constant_noise_has_no_slope(rng):
    variance = estimate(
        scene(rng), message=r"no variance in a\.npz: sky noise estimated .*sigma\^2 everywhere"
    )
    np.testing.assert_allclose(variance, SIGMA**2, rtol=0.16)


def test_counts_are_recognized(rng):
    variance = estimate(scene(rng, counts=True), message="whole counts.*gain 1")
    ratio = variance / (SIGMA**2 + SIGNAL)
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
    assert np.mean(ratio[:, SIGNAL > 50]) == pytest.approx(1, abs=0.1)


def test_whole_numbers_of_constant_noise_are_no_counts(rng):
    variance = estimate(np.round(scene(rng)), message="everywhere")
    assert np.ptp(variance[0]) == 0


def test_gain_is_told_per_band(rng):
    variance = estimate(scene(rng, gain=2.5), message=r"gain g \d.*, r \d")
    bright = SIGNAL > 50
    ratio = (variance / (SIGMA**2 + SIGNAL / 2.5))[:, bright].mean(axis=1)
    np.testing.assert_allclose(ratio, 1, atol=0.4)


def test_masked_pixels_say_nothing(rng):
    images = scene(rng)
    used = rng.random(images.shape) > 0.02
    images[~used] = 1e6
    np.testing.assert_allclose(estimate(images, used)[used], SIGMA**2, rtol=0.2)


def weighted_flux_pulls(rng, variance_of, repeats=30):
    """Pulls of the fluxes of the signal, shape known, fitted to counts with weights 1 / variance."""
    pulls = []
    for _ in range(repeats):
        image = rng.poisson(SIGNAL + SIGMA**2) - SIGMA**2
        weights = 1 / variance_of(image)
        fisher = (weights * SIGNAL**2).sum()
        pulls.append(((weights * SIGNAL * image).sum() / fisher - 1) * np.sqrt(fisher))
    return np.array(pulls)


def test_weights_do_not_bias_fluxes(rng):
    pulls = weighted_flux_pulls(rng, lambda y: SIGMA**2 + np.maximum(denoise(y, SIGMA**2, 1.0), 0))
    assert abs(pulls.mean()) < 0.5 + 4 / np.sqrt(len(pulls))
    assert pulls.std() < 1.5


def test_noisy_weights_do(rng):
    """Negative control: with the pixel's own value as signal fluxes come out too faint by sigmas."""
    assert weighted_flux_pulls(rng, lambda y: SIGMA**2 + np.maximum(y, 0)).mean() < -2


@pytest.mark.parametrize(("name", "sky"), [("psf_matched_sim", 20.0), ("psf_unmatched_sim", 10.0)])
def test_residuals_of_the_simulated_scenes(shared_data, name, sky):
    """With the true model, chi-square per pixel is 1; their noise is Poisson with this sky."""
    path = shared_data / f"{name}.npz"
    with pytest.warns(ScoresampleWarning, match="whole counts"):
        observation = read_observation(path)
    assert observation.noise_estimated
    raw = np.load(path)
    truth = np.stack([raw["catalog"][f"intensity_{band}"].sum(axis=0) for band in raw["filters"]])
    square = np.asarray(observation.inverse_variance) * (raw["images"] - truth) ** 2
    np.testing.assert_allclose(square.mean(axis=(1, 2)), 1, atol=0.12)
    assert square[truth > 50].mean() == pytest.approx(1, abs=0.12)
    assert (square * 0 + (raw["images"] - truth) ** 2 / sky)[
        truth > 50
    ].mean() > 3  # constant sky would be wrong


def test_sky_of_the_real_scene_agrees_with_its_variance(shared_data):
    raw = np.load(shared_data / "hsc_cosmos_35.npz")
    for image, psf, variance in zip(raw["images"], raw["psfs"], raw["variance"], strict=True):
        _, sigma = sky_statistics(image.astype(float), psf, np.ones(image.shape, bool))
        assert sigma**2 == pytest.approx(np.median(variance), rel=0.25)


def test_no_noise_is_an_error(one_line_error):
    images = np.zeros((2, *SHAPE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call = lambda: estimate_variance(images, np.stack([PSF, PSF]), images == 0, BANDS, source="a.npz")
        one_line_error(DataError, call, "'g'", "no noise", "variance or weights")


def test_tiny_images_work(rng):
    images, psfs, used = rng.normal(size=(2, 4, 4)), np.ones((2, 1, 1)), np.ones((2, 4, 4), bool)
    with pytest.warns(ScoresampleWarning):
        variance = estimate_variance(images, psfs, used, BANDS, source="a")
    assert (variance > 0).all()


def test_not_finite_pixels_need_a_mask(write_npz, arrays, one_line_error):
    images = arrays["images"].copy()
    images[0, 1, 2] = np.nan
    one_line_error(
        DataError, lambda: read_observation(write_npz(weights=None, images=images)), "(1, 2)", "mask"
    )
    mask = np.isnan(images)
    with pytest.warns(ScoresampleWarning, match="no variance in blend.npz"):
        assert (
            read_observation(write_npz(weights=None, images=images, mask=mask)).inverse_variance[0, 1, 2] == 0
        )
