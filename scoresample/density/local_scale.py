"""How wide a posterior is around a position, closely enough to let samplers take long steps."""

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import scipy.linalg
from jaxtyping import Array, Float

from scoresample.models.morphology import COORDINATE_SCALE, PixelMorphology
from scoresample.models.psf import psf_transforms
from scoresample.numerics.linear import DenseScale, LowRankScale, dense_precision, scale_from_precision

if TYPE_CHECKING:
    from scoresample.density.posterior import Posterior

MAX_DENSE = 5000
"""Objects with more free pixels than this keep the scale of their prior: n x n matrices would be too large."""

Block = tuple[tuple[str, ...], LowRankScale | DenseScale]


def local_scale(posterior: "Posterior", position: dict[str, Float[Array, "..."]]) -> list[Block]:
    r"""Return square roots of the posterior covariance, for groups of parameters, around a position.

    The free images of one object together have the precision

    .. math:: \Sigma^{-1}_{pq} + \sum_b v_{bp}\, R_b(p - q)\, v_{bq}, \qquad
              v_{bp} = A_b\, \frac{dS_p / du_p}{\sum S} \sqrt{\tilde w_b(p)}

    of prior and Gauss-Newton likelihood, with R the autocorrelation of the difference kernel and
    :math:`\tilde w` the inverse variance smoothed by the kernel squared: exact for constant weights. In every
    band what the fluxes of the object's own components can take up is projected out; neighbours count as
    fixed, which `samplers.whitening` mends. All else has its prior's scale.

    Returns
    -------
    Names of parameters, in order, with the scale of their raveled and joined values.
    """
    free = {parameter.name: parameter for parameter in posterior.parameters}
    brightness = np.asarray(posterior.brightness(position), float)
    blocks, used = [], set()
    for object_name in posterior.scene.objects:
        members = [
            (index, source)
            for index, source in enumerate(posterior.scene.sources)
            if source.object_name == object_name
            and isinstance(source.morphology, PixelMorphology)
            and f"{source.name}.image" in free
        ]
        names = tuple(f"{source.name}.image" for _, source in members)
        size = sum(int(np.prod(free[name].shape)) for name in names)
        if not members or size > MAX_DENSE:
            continue
        precision = _likelihood_precision(posterior, members, position, brightness)
        begin = 0
        for name in names:
            prior = dense_precision(free[name].scale())
            end = begin + len(prior)
            precision[begin:end, begin:end] += prior
            begin = end
        dtype = np.asarray(position[names[0]]).dtype
        blocks.append((names, scale_from_precision(precision, dtype)))
        used.update(names)
    return blocks + [((name,), p.scale()) for name, p in free.items() if name not in used]


def _likelihood_precision(posterior, members, position, brightness) -> Float[np.ndarray, "n n"]:
    """Return the Gauss-Newton precision of the images of one object, all bands together."""
    observation = posterior.observation
    psfs = np.asarray(observation.psfs)
    pixels, factors, shapes = [], [], []
    largest = max(max(source.shape) for _, source in members)
    grid = tuple(scipy.fft.next_fast_len(2 * largest + n, real=True) for n in psfs.shape[1:])
    kernels = psf_transforms(psfs, grid) / posterior.scene.model_psf.transform(grid)
    correlation = np.fft.irfft2(np.abs(kernels) ** 2, s=grid)
    smooth = _smooth_weights(
        np.asarray(observation.inverse_variance, float), np.fft.irfft2(kernels, s=grid) ** 2
    )
    for index, source in members:
        u = np.asarray(position[f"{source.name}.image"], float)
        morphology = np.expm1(COORDINATE_SCALE * u)
        slope = COORDINATE_SCALE * (morphology + 1)
        y, x = (o + np.arange(n) for o, n in zip(source.origin, source.shape, strict=True))
        height, width = smooth.shape[1:]
        weight = smooth[:, np.clip(y, 0, height - 1)[:, None], np.clip(x, 0, width - 1)]
        inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))
        peak = brightness[:, index]
        factors.append((peak[:, None, None] * slope * np.sqrt(weight * inside)).reshape(len(psfs), -1))
        shapes.append((morphology / slope).ravel())  # the change of u that is a change of flux
        pixels.append(np.stack(np.meshgrid(y, x, indexing="ij")).reshape(2, -1))
    y, x = np.concatenate(pixels, axis=1)
    lag_y, lag_x = (y[:, None] - y) % grid[0], (x[:, None] - x) % grid[1]
    total = np.zeros((y.size, y.size))
    flux_like = scipy.linalg.block_diag(*(shape[:, None] for shape in shapes))
    for factor, lagged in zip(np.concatenate(factors, axis=1), correlation, strict=True):
        band = factor[:, None] * lagged[lag_y, lag_x] * factor
        seen = band @ flux_like
        total += band - seen @ np.linalg.pinv(flux_like.T @ seen, hermitian=True) @ seen.T
    return total


def _smooth_weights(weights: Float[np.ndarray, "band y x"], squared: Float[np.ndarray, "band gy gx"]):
    """Return weights averaged with the squared kernel, whose origin is at the corner of its grid."""
    shape = [w + g for w, g in zip(weights.shape[1:], squared.shape[1:], strict=True)]
    half = [g // 2 for g in squared.shape[1:]]
    centered = np.roll(squared, half, axis=(1, 2))
    product = scipy.fft.rfft2(weights, s=shape) * np.conj(scipy.fft.rfft2(centered, s=shape))
    moved = np.roll(scipy.fft.irfft2(product, s=shape), half, axis=(1, 2))
    smooth = moved[:, : weights.shape[1], : weights.shape[2]] / squared.sum(axis=(1, 2))[:, None, None]
    return np.maximum(smooth, 0)
