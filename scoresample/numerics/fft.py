"""Grids for Fourier transforms of small images."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Complex, Float


def fast_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest sizes not below ``shape`` whose real FFT is fast."""
    return tuple(scipy.fft.next_fast_len(n, real=True) for n in shape)


def wave_numbers(shape: tuple[int, int]) -> tuple[Float[np.ndarray, "y 1"], Float[np.ndarray, "1 x"]]:
    """Return ``(k_y, k_x)`` of ``rfft2`` on a grid, in radians per pixel, shaped to broadcast."""
    k_y = 2 * np.pi * np.fft.fftfreq(shape[0])[:, None]
    k_x = 2 * np.pi * np.fft.rfftfreq(shape[1])[None, :]
    return k_y, k_x


def corner_transform(
    image: Float[Array, "h w"], shape: tuple[int, int]
) -> Complex[Array, "{shape[0]} {shape[1]}//2+1"]:
    """Return ``rfft2`` of an image laid at the corner of a grid, by products of matrices.

    As quick as a fast transform where the image is about half as wide as the grid, whose zeros cost nothing here, and
    with its derivative twice as quick: jax takes a complex transform for the derivative of a real one.
    """
    (height, width), (k_y, k_x) = image.shape, wave_numbers(shape)
    along_x = k_x.T * np.arange(width)
    along_y = k_y * np.arange(height)
    cosine, sine = np.cos(along_y), np.sin(along_y)
    exact = {"precision": jax.lax.Precision.HIGHEST}
    # Real and imaginary parts one after the other: XLA is slow at products of complex matrices.
    into_x = jnp.asarray(np.concatenate([np.cos(along_x), -np.sin(along_x)]).T, image.dtype)
    rows = jnp.matmul(image, into_x, **exact)
    half = rows.shape[1] // 2
    rows = jnp.concatenate([rows[:, :half], rows[:, half:]])
    both = jnp.matmul(jnp.asarray(np.block([[cosine, sine], [-sine, cosine]]), image.dtype), rows, **exact)
    return jax.lax.complex(both[: shape[0]], both[shape[0] :])


def shift_phase(
    shape: tuple[int, int], shift: Float[Array, "2"], dtype=None
) -> Complex[Array, "{shape[0]} {shape[1]}//2+1"]:
    r"""Return the factor :math:`e^{-i k \cdot d}` that moves an image by ``shift`` = (y, x) pixels.

    At the Nyquist frequency of an even grid only the cosine is kept, so that the shifted image stays real
    and a whole-pixel shift stays exact.
    """
    k_y, k_x = wave_numbers(shape)
    phase_y = jnp.exp(-1j * jnp.asarray(k_y, dtype) * shift[0])
    phase_x = jnp.exp(-1j * jnp.asarray(k_x, dtype) * shift[1])
    if shape[0] % 2 == 0:
        phase_y = phase_y.at[shape[0] // 2].set(jnp.cos(np.pi * shift[0]))
    if shape[1] % 2 == 0:
        phase_x = phase_x.at[:, -1].set(jnp.cos(np.pi * shift[1]))
    return phase_y * phase_x


def centered_transform(
    image: Float[np.ndarray, "h w"], center: tuple[float, float], shape: tuple[int, int]
) -> Complex[np.ndarray, "y x"]:
    """Return the ``rfft2`` on a grid of an image whose point ``center`` is moved to the origin.

    The image must fit into the grid. Computed in double precision.
    """
    if any(n > g for n, g in zip(image.shape, shape, strict=True)):
        raise ValueError(f"image of shape {image.shape} does not fit a grid of shape {shape}")
    transform = np.fft.rfft2(np.asarray(image, np.float64), s=shape)
    k_y, k_x = wave_numbers(shape)
    phase_y, phase_x = np.exp(1j * k_y * center[0]), np.exp(1j * k_x * center[1])
    if shape[0] % 2 == 0:
        phase_y[shape[0] // 2] = np.cos(np.pi * center[0])
    if shape[1] % 2 == 0:
        phase_x[:, -1] = np.cos(np.pi * center[1])
    return transform * phase_y * phase_x
