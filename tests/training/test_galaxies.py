"""Simulated galaxies: reproducible, positive, centered, and the population that is promised."""

import numpy as np
import pytest

pytest.importorskip("galsim", reason="galaxy simulation needs the extra 'sim' (galsim)")

from scoresample.errors import ConfigError
from scoresample.training import galaxies


@pytest.fixture(scope="module")
def images():
    return galaxies.simulate_galaxies(11, 32, 150)


def test_the_same_seed_gives_the_same_galaxies(images):
    np.testing.assert_array_equal(galaxies.simulate_galaxies(11, 32, 8), images[:8])
    assert np.abs(galaxies.simulate_galaxies(12, 32, 8) - images[:8]).max() > 0.1


def test_galaxies_are_positive_float32_with_a_peak_near_one(images):
    assert images.shape == (150, 32, 32) and images.dtype == np.float32
    assert np.all(np.isfinite(images)) and images.min() >= 0
    log_peak = np.log(images.max((1, 2)))
    assert abs(log_peak.mean()) < 5 * 0.1 / np.sqrt(150)
    assert 0.07 < log_peak.std() < 0.13


def test_smooth_galaxies_are_centered_within_half_a_pixel():
    grid = np.arange(25) - 12
    for seed in range(20):
        image = galaxies.simulate_galaxy(np.random.default_rng(seed), 25, size_box=12, kind="exponential")
        y, x = (image.sum(1) @ grid) / image.sum(), (image.sum(0) @ grid) / image.sum()
        assert max(abs(y), abs(x)) < 0.55


def test_companions_draw_the_center_of_light_away():
    grid = np.arange(49) - 24
    off = {}
    for companions in (0.0, 1.0):
        images = [
            galaxies.simulate_galaxy(np.random.default_rng(s), 49, 24, "exponential", companions)
            for s in range(60)
        ]
        y, x = (np.array([image.sum(axis) @ grid / image.sum() for image in images]) for axis in (1, 0))
        off[companions] = np.hypot(y, x)
        assert all(image.min() >= 0 and 0.6 < image.max() < 1.6 for image in images)
    assert off[0.0].max() < 0.8  # half a pixel along each axis
    assert np.median(off[1.0]) > 2 * np.median(off[0.0])
    again = galaxies.simulate_galaxy(np.random.default_rng(3), 49, 24, "exponential")
    np.testing.assert_array_equal(
        galaxies.simulate_galaxy(np.random.default_rng(3), 49, 24, "exponential", 0.0), again
    )


def test_orientations_are_isotropic():
    # At one box size, <x^2 - y^2> and <xy> over <r^2> vanish on average; one fixed orientation would give about 0.4.
    grid = np.arange(24) - 11.5
    y, x = np.meshgrid(grid, grid, indexing="ij")
    images = np.stack(
        [galaxies.simulate_galaxy(np.random.default_rng(s), 24, kind="exponential") for s in range(200)]
    )
    moment = lambda f: np.sum(images * f, (1, 2)) / np.sum(images * (x**2 + y**2), (1, 2))
    for values in (moment(x**2 - y**2), moment(2 * x * y)):
        assert abs(values.mean()) < 5 * values.std() / np.sqrt(200)
        assert values.std() > 0.15


def test_half_light_radii_have_the_median_and_width_they_say():
    rng = np.random.default_rng(5)
    sizes = np.log([galaxies.draw_half_light_radius(rng, 64) for _ in range(4000)])
    assert abs(sizes.mean() - np.log(0.085 * 64)) < 5 * 0.45 / np.sqrt(4000)
    assert abs(sizes.std() - 0.45) < 5 * 0.45 / np.sqrt(8000)


def test_axis_ratios_follow_the_quantiles_in_the_docstring():
    rng = np.random.default_rng(6)
    ratios = [galaxies.draw_axis_ratio(rng) for _ in range(4000)]
    np.testing.assert_allclose(
        np.quantile(ratios, [0.05, 0.25, 0.5, 0.75, 0.95]), [0.25, 0.39, 0.55, 0.72, 0.90], atol=0.03
    )


def test_a_sersic_galaxy_holds_half_its_light_within_its_radius():
    image = galaxies.draw_profile(galaxies.sersic_profile(1.0, 6.0, 0.5, 0.7), 97, (0.2, -0.3), 0.7)
    y, x = np.meshgrid(np.arange(97) - 48.2, np.arange(97) - 47.7, indexing="ij")
    major, minor = np.cos(0.7) * x + np.sin(0.7) * y, -np.sin(0.7) * x + np.cos(0.7) * y
    inside = 0.5 * major**2 + minor**2 / 0.5 < 6.0**2
    np.testing.assert_allclose(image[inside].sum(), 0.5, atol=0.02)  # the PSF moves a little outward


@pytest.mark.parametrize("kind", galaxies.KINDS)
@pytest.mark.parametrize("box", [9, 30])
def test_every_kind_at_odd_and_even_boxes(kind, box):
    image = galaxies.simulate_galaxy(np.random.default_rng(1), box, kind=kind)
    assert image.shape == (box, box) and np.isfinite(image).all() and 0.6 < image.max() < 1.6
    peak = np.unravel_index(image.argmax(), image.shape)
    assert np.hypot(*(np.array(peak) - (box - 1) / 2)) < box / 3


def test_painted_and_analytic_disks_agree():
    from scoresample.training import painted

    radius, _ = painted.disk_coordinates(48, (0.2, -0.4), 0.6, 0.8)
    image = painted.to_pixels(np.exp(-radius / (painted.SCALE_LENGTH * 5.0)), 0.7)
    exact = galaxies.draw_profile(galaxies.sersic_profile(1.0, 5.0, 0.6, 0.8), 48, (0.2, -0.4), 0.7)
    np.testing.assert_allclose(image, exact / exact.sum(), atol=0.01 * image.max())
    turned = galaxies.draw_profile(galaxies.sersic_profile(1.0, 5.0, 0.6, 1.0), 48, (0.2, -0.4), 0.7)
    assert np.abs(image - turned / turned.sum()).max() > 0.02 * image.max()  # the test sees a wrong angle


def test_bad_input():
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="at least 3 pixels"):
        galaxies.simulate_galaxy(rng, 2)
    with pytest.raises(ConfigError, match="'quasar' is unknown"):
        galaxies.simulate_galaxy(rng, 16, kind="quasar")
