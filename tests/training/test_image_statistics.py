"""Statistics of images, on Gaussians whose numbers are known."""

import numpy as np
import pytest

from scoresample.training.image_statistics import ImageStatistics, distances, image_statistics


@pytest.fixture
def make_blob():
    def make(sigma=5.0, axis_ratio=1.0, side=65, offset=0.0, angle=0.0):
        y, x = np.indices((side, side)) - (side - 1) / 2
        y, x = y - offset, x - offset
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        return np.exp(-(along**2 + (across / axis_ratio) ** 2) / (2 * sigma**2))[None]

    return make


def test_a_round_gaussian(make_blob):
    found = image_statistics(make_blob(5.0))
    radius = lambda share: 5.0 * np.sqrt(-2 * np.log(1 - share))
    np.testing.assert_allclose(found.flux, 2 * np.pi * 25, rtol=1e-6)
    np.testing.assert_allclose(found.half_light_radius, radius(0.5), rtol=0.03)
    np.testing.assert_allclose(found.concentration, 5 * np.log10(radius(0.8) / radius(0.2)), rtol=0.03)
    np.testing.assert_allclose([found.ellipticity, found.asymmetry], 0, atol=1e-8)


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.0])
def test_an_elongated_gaussian_whatever_its_angle(make_blob, angle):
    """Under the weight, of width w, 1 / s^2 + 1 / w^2 replaces 1 / s^2 along each axis."""
    found = image_statistics(make_blob(6.0, 0.5, angle=angle))
    along, across = (1 / (1 / s**2 + (6 / 65) ** 2) for s in (6.0, 3.0))
    np.testing.assert_allclose(found.ellipticity, (along - across) / (along + across), rtol=1e-3)


def test_a_galaxy_off_the_center_is_asymmetric(make_blob):
    one, other = (image_statistics(make_blob(offset=offset)).asymmetry[0] for offset in (0.5, 3.0))
    assert 0 < one < other < 1


def test_an_image_without_light_is_told(make_blob):
    found = image_statistics(np.concatenate([make_blob(), -make_blob()]))
    for name in ("half_light_radius", "ellipticity", "concentration", "asymmetry"):
        values = getattr(found, name)
        assert np.isfinite(values[0])
        assert np.isnan(values[1])


def test_distances_between_populations():
    """None between halves of one population but chance, 0.06 at most for 1000; all between others."""
    rng = np.random.default_rng(1)
    one, same = (ImageStatistics(*rng.normal(size=(5, 1000))) for _ in range(2))
    assert max(distances(one, same).values()) < 0.09
    shifted = ImageStatistics(*(values + 0.5 for values in one))
    assert min(distances(one, shifted).values()) > 0.15
    without_light = ImageStatistics(*(np.where(rng.random(1000) < 0.3, np.nan, values) for values in one))
    assert min(distances(one, without_light).values()) > 0.2
