"""Fourier helpers: sizes, shifts and centered transforms."""

import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.numerics.fft import centered_transform, fast_shape, shift_phase, wave_numbers

SHAPES = [(8, 10), (9, 10), (8, 7), (9, 15)]


def shifted(image, shift):
    phase = shift_phase(image.shape, jnp.asarray(shift, float))
    return np.fft.irfft2(np.fft.rfft2(image) * np.asarray(phase), s=image.shape)


def test_fast_shapes_are_large_enough_and_have_small_factors():
    for n in range(1, 130):
        (fast, _) = fast_shape((n, 7))
        assert n <= fast <= max(1.2 * n, n + 1)
        for factor in (2, 3, 5):
            while fast % factor == 0:
                fast //= factor
        assert fast == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_pixel_shifts_roll_the_image(shape):
    image = np.random.default_rng(0).normal(size=shape)
    for shift in [(0, 0), (1, -2), (3, 3)]:
        np.testing.assert_allclose(shifted(image, shift), np.roll(image, shift, (0, 1)), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_sub_pixel_shifts_move_waves(shape):
    y, x = np.indices(shape)
    wave = lambda y, x: 1 + np.cos(2 * np.pi * (2 * y / shape[0] - x / shape[1]) + 0.4)
    np.testing.assert_allclose(shifted(wave(y, x), (0.3, -1.7)), wave(y - 0.3, x + 1.7), atol=1e-5)
    assert np.abs(shifted(wave(y, x), (0.3, -1.6)) - wave(y - 0.3, x + 1.7)).max() > 0.03


@pytest.mark.parametrize("shape", SHAPES)
def test_shifts_around_the_grid_change_nothing(shape):
    """Not even digits, in single precision: angles of whole pixels are counted, not added up."""
    near, far = (
        np.asarray(shift_phase(shape, jnp.array([0.25, 1.5]) + turns * jnp.array(shape))) for turns in (0, 40)
    )
    np.testing.assert_allclose(far, near, atol=1e-6)
    assert np.abs(np.asarray(shift_phase(shape, jnp.array([0.25, 1.25]))) - near).max() > 0.1


@pytest.mark.parametrize("shape", SHAPES)
def test_shifted_images_are_real(shape):
    """The phase of a real image's transform at the frequencies that are their own mirror images is real."""
    phase = np.asarray(shift_phase(shape, jnp.array([0.3, 0.4])))
    assert phase.shape == (shape[0], shape[1] // 2 + 1)
    rows = [0] + [shape[0] // 2] * (shape[0] % 2 == 0)
    columns = [0] + [-1] * (shape[1] % 2 == 0)
    np.testing.assert_allclose(phase[np.ix_(rows, columns)].imag, 0, atol=1e-6)


def test_wave_numbers_are_those_of_numpy():
    k_y, k_x = wave_numbers((5, 8))
    assert k_y.shape == (5, 1) and k_x.shape == (1, 5)
    np.testing.assert_allclose(k_x[0], 2 * np.pi * np.arange(5) / 8)
    np.testing.assert_allclose(k_y[:, 0], 2 * np.pi * np.array([0, 1, 2, -2, -1]) / 5)


@pytest.mark.parametrize("grid", [(12, 16), (13, 15)])
def test_centered_transform_puts_the_center_at_the_origin(grid):
    image = np.random.default_rng(1).normal(size=(5, 7))
    moved = np.zeros(grid)
    moved[:5, :7] = image
    expected = np.fft.rfft2(np.roll(moved, (-2, -3), (0, 1)))
    np.testing.assert_allclose(centered_transform(image, (2.0, 3.0), grid), expected, atol=1e-12)


def test_centered_transform_of_a_symmetric_image_about_a_corner_is_real():
    profile = np.exp(-0.5 * (np.arange(12) - 5.5) ** 2 / 1.5**2)
    transform = centered_transform(np.outer(profile, profile), (5.5, 5.5), (20, 18))
    assert np.abs(transform.imag).max() < 1e-10 * np.abs(transform).max()


def test_an_image_larger_than_its_grid_is_refused():
    with pytest.raises(ValueError, match=r"shape \(5, 7\) does not fit a grid of shape \(5, 6\)"):
        centered_transform(np.ones((5, 7)), (2.0, 3.0), (5, 6))
