"""Numbers of the catalog against closed forms."""

import jax
import numpy as np
import pytest

from scoresample.numerics.spread import spread_indices
from scoresample.products.photometry import (
    blendedness,
    flux_samples,
    half_width,
    mean_centers,
    mean_object_images,
    object_images,
    peak_offset,
    variance_from_neighbours,
)


@pytest.fixture
def rng(seed_shift):
    return np.random.default_rng(29 + seed_shift)


def correlated(rng, covariance, num=4000):
    return rng.multivariate_normal(np.zeros(len(covariance)), covariance, size=num)[:, :, None]


def test_share_of_two_correlated_fluxes_is_the_squared_correlation(rng):
    r = 0.8
    covariance = np.array([[4.0, r * 6.0], [r * 6.0, 9.0]])
    share = variance_from_neighbours(correlated(rng, covariance))
    # the sample's r^2 has a standard deviation of 2 r (1 - r^2) / sqrt(n)
    np.testing.assert_allclose(share[:, 0], r**2, atol=5 * 2 * r * (1 - r**2) / np.sqrt(4000))


def test_share_is_what_knowing_the_others_takes_away(rng):
    """Against the variance left after regression on the other fluxes, on the same draws."""
    root = rng.normal(size=(4, 4))
    samples = correlated(rng, root @ root.T)
    share = variance_from_neighbours(samples)[:, 0]
    x = samples[:, :, 0] - samples[:, :, 0].mean(axis=0)
    for k in range(4):
        others = np.delete(x, k, axis=1)
        rest = x[:, k] - others @ np.linalg.lstsq(others, x[:, k], rcond=None)[0]
        assert share[k] == pytest.approx(1 - np.sum(rest**2) / np.sum(x[:, k] ** 2), rel=1e-6)


def test_share_of_independent_fluxes_is_nothing_and_units_do_not_matter(rng):
    samples = correlated(rng, np.eye(3)) * np.array([1.0, 1e6, 1e-6])[None, :, None]
    # the sample's multiple r^2 of K - 1 others has mean (K - 1) / n
    assert (variance_from_neighbours(samples) < 20 / 4000).all()


def test_share_of_one_object_is_nothing(rng):
    np.testing.assert_allclose(variance_from_neighbours(rng.normal(size=(50, 1, 2))), 0, atol=1e-12)


def test_share_without_draws_or_spread_is_nan(rng):
    samples = rng.normal(size=(100, 3, 1))
    samples[:, 1] = 2.0
    share = variance_from_neighbours(samples)[:, 0]
    np.testing.assert_array_equal(np.isnan(share), [False, True, False])
    assert np.isnan(variance_from_neighbours(rng.normal(size=(3, 4, 1)))).all()


def test_blendedness_of_apart_equal_and_covered_objects():
    images = np.zeros((2, 1, 1, 4))
    images[0, 0, 0] = [1, 2, 0, 0]
    images[1, 0, 0] = [0, 0, 1, 1]
    np.testing.assert_allclose(blendedness(images), 0)
    images[1] = images[0]
    np.testing.assert_allclose(blendedness(images), 0.5)
    images[1] = 9 * images[0]
    np.testing.assert_allclose(blendedness(images), [0.9, 0.1])


def test_blendedness_sums_bands_first():
    """Two objects in different bands of one pixel overlap."""
    images = np.zeros((2, 2, 1, 1))
    images[0, 0], images[1, 1] = 1, 3
    np.testing.assert_allclose(blendedness(images), [0.75, 0.25])


def test_blendedness_of_an_object_without_light_is_nan():
    images = np.zeros((2, 1, 2, 2))
    images[0] = 1
    np.testing.assert_array_equal(np.isnan(blendedness(images)), [False, True])


def test_object_images_add_up_to_the_model(shared_draws):
    posterior = shared_draws.density
    position = posterior.initial_position()
    images = object_images(posterior, position)
    assert images.objects.shape == (3, 2, 24, 22)
    sources = np.asarray(posterior.source_images(position), np.float64)
    np.testing.assert_allclose(images.objects[1], sources[1] + sources[2], rtol=1e-5)
    np.testing.assert_allclose(images.model, sources.sum(axis=0), rtol=1e-4, atol=1e-3)


def test_mean_images_hold_the_mean_fluxes(shared_draws):
    """Images at the conditional mean average to the mean flux, within the noise of the conditional draws."""
    images = mean_object_images(shared_draws, num=100)
    samples = flux_samples(shared_draws)
    error = samples.std(axis=0) * np.sqrt(1 / 100 + 1 / len(samples))
    assert (abs(images.objects.sum(axis=(2, 3)) - samples.mean(axis=0)) < 5 * error).all()


def test_centers_are_means_where_free(shared_draws):
    centers = mean_centers(shared_draws)
    np.testing.assert_allclose(centers[:2], [[9, 8], [11, 11]])
    parameter = next(p for p in shared_draws.density.parameters if p.name == "star_2.center")
    values = jax.vmap(jax.vmap(parameter.constrain))(shared_draws.position["star_2.center"])
    np.testing.assert_allclose(centers[2], np.mean(values, axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(centers[2], [20, 17], atol=0.1)
    assert (centers[2] != [20, 17]).any()


def test_indices_are_spread_and_different():
    assert spread_indices(10, 3).tolist() == [0, 4, 9]
    assert spread_indices(4, 100).tolist() == [0, 1, 2, 3]
    assert len(set(spread_indices(101, 100).tolist())) == 100
    assert spread_indices(1, 5).tolist() == [0]


def test_offset_of_the_brightest_pixel():
    images = np.full((5, 2, 9, 12), 0.1)
    images[0, 1, 3, 4] = images[1, 0, 3, 4] = 5.0
    images[2] *= -1
    images[2, 0, 8, 10] = -5.0  # negative light in all
    images[3, 0, 0, 4] = 5.0
    images[4] = 0
    centers = np.array([[3.3, 4.0], [6.0, 8.0], [8.0, 9.0], [-2.0, 4.0], [4.0, 4.0]])
    np.testing.assert_allclose(peak_offset(images, centers), [0.3, 5.0, 1.0, 0.0, np.nan], atol=1e-12)


def test_half_width_is_that_of_the_widest_psf():
    y, x = np.indices((25, 25)) - 12
    psfs = np.stack([np.exp(-(y**2 + x**2) / (2 * sigma**2)) for sigma in (2.0, 3.0)])
    assert half_width(psfs) == pytest.approx(3 * np.sqrt(2 * np.log(2)), rel=0.05)
    assert half_width(7 * psfs) == half_width(psfs)
