"""Point spread functions: the observed ones as images, the model's as a narrow Gaussian."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from scoresample.numerics.fft import centered_transform, wave_numbers

DEFAULT_SIGMA = 0.7  # pixels; the resolution that morphologies of the shipped priors have


class GaussianPSF(eqx.Module):
    r"""The narrow PSF of the model grid, :math:`\hat G(k) = e^{-\sigma^2 k^2 / 2}`.

    Morphologies live at this resolution, so that no source is sharper than the pixels can show.

    Parameters
    ----------
    sigma
        Standard deviation in pixels.
    """

    sigma: float = eqx.field(static=True, default=DEFAULT_SIGMA)

    def transform(self, shape: tuple[int, int]) -> Float[np.ndarray, "y x"]:
        """Return the Fourier transform on the ``rfft2`` grid of ``shape``."""
        k_y, k_x = wave_numbers(shape)
        return np.exp(-0.5 * self.sigma**2 * (k_y**2 + k_x**2))

    def image(self, shape: tuple[int, int]) -> Float[Array, "y x"]:
        """Return the PSF centered on a grid of ``shape``, with peak 1."""
        y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
        return jnp.asarray(np.exp(-0.5 * (y[:, None] ** 2 + x[None, :] ** 2) / self.sigma**2))


def psf_center(psf: Float[np.ndarray, "h w"]) -> tuple[float, float]:
    """Return the point of a PSF image that stands for its origin.

    The central pixel for odd sizes. An even size has no central pixel: the origin is then either pixel
    ``n / 2`` (the habit of FFT codes) or the corner ``(n - 1) / 2`` (the habit of drawing codes), whichever
    is nearer to the centroid of the bright core.
    """
    core = np.where(psf > 0.1 * psf.max(), psf, 0)
    center = []
    for axis, n in enumerate(psf.shape):
        profile = core.sum(axis=1 - axis)
        centroid = profile @ np.arange(n) / profile.sum()
        options = [n // 2] if n % 2 else [n / 2, (n - 1) / 2]
        center.append(float(min(options, key=lambda c: abs(c - centroid))))
    return tuple(center)


def psf_width(psf: Float[np.ndarray, "h w"]) -> float:
    r"""Return the sigma of the Gaussian with the same noise-equivalent area, :math:`(4\pi\sum P^2)^{-1/2}`."""
    return float(1 / np.sqrt(4 * np.pi * np.sum((psf / psf.sum()) ** 2)))


def choose_model_psf(psfs: Float[np.ndarray, "band h w"]) -> GaussianPSF:
    """Return the model PSF: the default width, or the narrowest observed one where that is narrower."""
    return GaussianPSF(min(DEFAULT_SIGMA, *(psf_width(np.asarray(psf)) for psf in psfs)))


def psf_transforms(
    psfs: Float[np.ndarray, "band h w"], shape: tuple[int, int]
) -> Complex[np.ndarray, "band y x"]:
    """Return the Fourier transforms of PSF images, each with its center at the origin of the grid."""
    psfs = np.asarray(psfs)
    return np.stack([centered_transform(psf, psf_center(psf), shape) for psf in psfs])
