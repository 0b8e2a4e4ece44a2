"""Morphologies by their transforms: closed forms, moments, coordinates."""

import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.models.morphology import (
    GaussianProfile,
    PixelMorphology,
    PointSource,
    SersicProfile,
    to_coordinate,
    to_morphology,
)
from scoresample.numerics.fft import wave_numbers

GRID = (64, 60)
ROUND = jnp.zeros(2)


def sersic(index, radius, ellipticity=ROUND):
    return SersicProfile(jnp.asarray(float(radius)), jnp.asarray(float(index)), ellipticity)


def second_moments(transform):
    """Return the covariance ((xx, xy), (xy, yy)) of the profile, from the drawn image."""
    image = np.fft.fftshift(np.fft.irfft2(np.asarray(transform), s=GRID))
    y, x = (i - n // 2 for i, n in zip(np.indices(GRID), GRID, strict=True))
    return np.array(
        [[np.sum(image * x * x), np.sum(image * x * y)], [np.sum(image * x * y), np.sum(image * y * y)]]
    )


def test_coordinates_there_and_back():
    u = jnp.linspace(-3.0, 8.0, 12)
    np.testing.assert_allclose(to_coordinate(to_morphology(u)), u, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_coordinate(jnp.asarray(1.0)), 10 * np.log(2), rtol=1e-6)


@pytest.mark.parametrize(
    "morphology",
    [
        PointSource(),
        GaussianProfile(jnp.asarray(2.0), jnp.array([0.1, 0.2])),
        sersic(0.5, 2),
        sersic(6.0, 3, jnp.array([0.5, 0.3])),
        PixelMorphology(jnp.asarray(np.random.default_rng(0).uniform(0, 7, (9, 8)))),
    ],
)
def test_transforms_have_unit_flux_and_the_shape_of_the_grid(morphology):
    transform = np.asarray(morphology.transform(GRID))
    assert transform.shape == (64, 31) and np.iscomplexobj(transform)
    np.testing.assert_allclose(transform[0, 0], 1, atol=4e-5)  # 2.5e-5 for index 6


def test_a_sersic_profile_of_index_one_half_is_a_gaussian():
    sigma, ellipticity = 2.0, jnp.array([0.3, -0.2])
    gaussian = GaussianProfile(jnp.asarray(sigma), ellipticity).transform(GRID)
    same = sersic(0.5, sigma * np.sqrt(2 * np.log(2)), ellipticity).transform(GRID)
    np.testing.assert_allclose(same, gaussian, atol=1e-4)


@pytest.mark.parametrize("radius", [0.7, 2.0, 5.0])
def test_a_sersic_profile_of_index_one_is_an_exponential(radius):
    k_y, k_x = wave_numbers(GRID)
    exact = (1 + (radius / 1.67834699) ** 2 * (k_y**2 + k_x**2)) ** -1.5
    np.testing.assert_allclose(sersic(1.0, radius).transform(GRID), exact, atol=1e-4)
    assert np.abs(sersic(1.1, radius).transform(GRID) - exact).max() > 2e-3  # negative control


@pytest.mark.parametrize("ellipticity", [(0.0, 0.0), (0.4, 0.0), (0.0, -0.3), (-0.2, 0.25)])
def test_ellipticity_stretches_as_documented(ellipticity):
    sigma, (e_1, e_2) = 2.5, ellipticity
    stretch = np.array([[1 + e_1, e_2], [e_2, 1 - e_1]]) / np.sqrt(1 - e_1**2 - e_2**2)
    moments = second_moments(GaussianProfile(jnp.asarray(sigma), jnp.array(ellipticity)).transform(GRID))
    np.testing.assert_allclose(moments, sigma**2 * stretch @ stretch.T, atol=5e-3)
    axes = np.sqrt(np.linalg.eigvalsh(moments))
    e = np.hypot(e_1, e_2)
    np.testing.assert_allclose(axes[0] / axes[1], (1 - e) / (1 + e), rtol=2e-3)
    np.testing.assert_allclose(axes[0] * axes[1], sigma**2, rtol=2e-3)


def test_parameters_are_the_array_fields():
    assert set(sersic(1, 2).parameters) == {"half_light_radius", "sersic_index", "ellipticity"}
    assert PointSource().parameters == {}
