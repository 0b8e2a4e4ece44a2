"""How the noise of an image grows with its signal."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion, convolve, gaussian_filter

# Fourth differences in y and x: blind to everything as smooth as a well-sampled PSF. Norm 1 on white noise.
HIGH_PASS = np.outer([1, -4, 6, -4, 1], [1, -4, 6, -4, 1]) / 70.0
# Neighbouring high-pass values share pixels: sum of their squared correlations, (1 + 2 sum rho^2)^2.
CORRELATED = (1 + 2 * (56**2 + 28**2 + 8**2 + 1) / 70**2) ** 2
OUTLIER = 16.0  # squared sigma; where images are sharper than the high-pass can ignore


class SlopeFit(NamedTuple):
    """Variance per unit of signal, and its standard error (infinite when there is nothing to fit)."""

    slope: float
    error: float


def fit_slope(
    image: Float[np.ndarray, "y x"],
    used: Bool[np.ndarray, "y x"],
    psf: Float[np.ndarray, "h w"],
    level: float,
    sigma: float,
) -> SlopeFit:
    r"""Fit how the variance of an image grows with the signal.

    With the high-pass :math:`r = h * Y` and the signal :math:`m = h^2 * Y - \mathrm{level}`, smooth images
    have :math:`E[r^2] = s^2 + a m`. The slope a is found by iterated least squares with weights
    :math:`1/v^2`, which solves the equations of Gaussian maximum likelihood for v. Places where a point source
    of that brightness would itself exceed the noise of r are left out. Correlated noise has
    less small-scale scatter, :math:`s^2 < \sigma^2`: the slope is scaled by the ratio.

    Parameters
    ----------
    image, used
        Pixel values and which of them count.
    psf
        PSF of the band.
    level, sigma
        Sky level and noise of empty pixels.
    """
    if min(image.shape) < 5:
        return SlopeFit(0.0, np.inf)
    whole = binary_erosion(used, np.ones((5, 5)))  # all 25 pixels exist and count
    squares = convolve(image, HIGH_PASS)[whole] ** 2
    signal = np.maximum(convolve(image, HIGH_PASS**2)[whole] - level, 0)
    leak = np.abs(convolve(np.pad(psf, 4), HIGH_PASS)).max() / np.abs(psf).max()
    floor, slope, error = sigma**2, 0.0, np.inf
    for _ in range(30):  # settles in about 10
        model = floor + slope * signal
        keep = (squares < OUTLIER * model) & ((leak * signal) ** 2 < model)
        if keep.sum() < 50 or np.ptp(signal[keep]) == 0:
            return SlopeFit(0.0, np.inf)
        design = np.stack([np.ones(keep.sum()), signal[keep]], axis=1) / model[keep, None]
        covariance = np.linalg.inv(design.T @ design)
        fitted, growth = covariance @ (design.T @ (squares[keep] / model[keep]))
        floor, slope = max(fitted, 1e-3 * sigma**2), max(growth, 0.0)
        error = float(np.sqrt(2 * CORRELATED * covariance[1, 1]))  # r^2 has variance 2 v^2
    ratio = max(sigma**2 / floor, 1.0)
    return SlopeFit(float(slope * ratio), error * ratio)


def denoise(
    signal: Float[np.ndarray, "y x"], sky_variance: float, slope: float, threshold: float = 4.0
) -> Float[np.ndarray, "y x"]:
    """Return an image with only the details that stand out of the noise.

    From Gaussian widths of 4 pixels down to 0, the difference to the next finer width is added where it
    exceeds ``threshold`` sigma of the noise ``sky_variance + slope * signal``.
    """
    estimate, coarse = gaussian_filter(signal, 4.0), gaussian_filter(signal, 4.0)
    point = np.zeros((51, 51))
    point[25, 25] = 1
    widths = (4.0, 2.0, 1.0, 0.0)
    for before, width in pairwise(widths):
        fine = gaussian_filter(signal, width) if width else signal
        kernel = (gaussian_filter(point, width) if width else point) - gaussian_filter(point, before)
        noise = np.sqrt((kernel**2).sum() * (sky_variance + slope * np.maximum(estimate, 0)))
        estimate = estimate + np.where(np.abs(fine - coarse) > threshold * noise, fine - coarse, 0)
        coarse = fine
    return estimate
