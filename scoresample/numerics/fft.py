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


def shift_phase(
    shape: tuple[int, int], shift: Float[Array, "2"], dtype=None
) -> Complex[Array, "{shape[0]} {shape[1]}//2+1"]:
    r"""Return the factor :math:`e^{-i k \cdot d}` that moves an image by ``shift`` = (y, x) pixels.

    At the Nyquist frequency of an even grid only the cosine is kept, so that the shifted image stays real
    and a whole-pixel shift stays exact. Whole pixels are counted, so that many of them are as exact as one.
    """
    k_y, k_x = (np.ravel(k) for k in wave_numbers(shape))
    waves = np.concatenate([k_y, k_x])
    along = np.repeat([0, 1], [k_y.size, k_x.size])
    size = np.asarray(shape)[along]
    whole = jnp.round(jax.lax.stop_gradient(shift)).astype(int)
    turns = (np.round(waves * size / (2 * np.pi)).astype(int) * whole[along]) % size
    angles = jnp.asarray(waves, dtype) * (shift - whole)[along] + jnp.asarray(2 * np.pi / size, dtype) * turns
    nyquist = np.isclose(np.abs(waves), np.pi, rtol=0, atol=1e-12)
    # As arrays of their own: the compiler would compute sines anew for every pair of wave numbers and every band.
    cosine, sine = jax.lax.optimization_barrier((jnp.cos(angles), jnp.where(nyquist, 0, jnp.sin(angles))))
    phases = jax.lax.complex(cosine, -sine)
    return phases[: k_y.size, None] * phases[k_y.size :]


def centered_transform(
    image: Float[np.ndarray, "h w"], center: tuple[float, float], shape: tuple[int, int]
) -> Complex[np.ndarray, "y x"]:
    """Return the ``rfft2`` on a grid of an image whose point ``center`` is moved to the origin.

    The image must fit into the grid. Computed in double precision.
    """
    if any(n > g for n, g in zip(image.shape, shape, strict=True)):
        raise ValueError(f"image of shape {image.shape} does not fit a grid of shape {shape}")
    transform = np.fft.rfft2(np.asarray(image, np.float64), s=shape)
    phase_y, phase_x = shift_phases(shape, (-center[0], -center[1]))
    return transform * phase_y * phase_x


def shift_phases(
    shape: tuple[int, int], shift: tuple[float, float]
) -> tuple[Complex[np.ndarray, "y 1"], Complex[np.ndarray, "1 x"]]:
    """Return the factors along y and x of `shift_phase`, in numpy and double precision."""
    k_y, k_x = wave_numbers(shape)
    phase_y, phase_x = np.exp(-1j * k_y * shift[0]), np.exp(-1j * k_x * shift[1])
    if shape[0] % 2 == 0:
        phase_y[shape[0] // 2] = np.cos(np.pi * shift[0])
    if shape[1] % 2 == 0:
        phase_x[:, -1] = np.cos(np.pi * shift[1])
    return phase_y, phase_x
