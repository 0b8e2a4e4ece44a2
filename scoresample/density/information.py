"""What an observation knows of images on the model grid: the Gauss-Newton information, fluxes projected out."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.sparse
from jaxtyping import Array, Float

from scoresample.models.morphology import COORDINATE_SCALE
from scoresample.models.psf import psf_transforms
from scoresample.models.rendering import Renderer, make_renderer
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.compiling import quick_jit
from scoresample.numerics.fft import fast_shape

MAX_DENSE_PIXELS = 2000
"""The matrix of images of so many pixels is written out: quicker than transforms of a whole frame for each column."""


class Seen(NamedTuple):
    """What an observation sees of the model grid, the same for all objects.

    Attributes
    ----------
    power
        Transform of R: the squared modulus of the difference kernels, (band, ky, kx).
    correlation
        R itself, by lag, its origin at the corner of the grid.
    root_weight
        Square root of the smoothed inverse variance on the frame.
    grid
        Shape of the grid of the transforms.
    renderer
        Draws all sources on the model grid.
    """

    power: Float[np.ndarray, "band ky kx"]
    correlation: Float[np.ndarray, "band gy gx"]
    root_weight: Float[np.ndarray, "band y x"]
    grid: tuple[int, int]
    renderer: Renderer

    def correlate(self, images: Float[np.ndarray, "*k y x"], band=slice(None)) -> Float[np.ndarray, "*k y x"]:
        """Return R times images on the frame: of all bands, which are then the last axis but two, or of one."""
        height, width = images.shape[-2:]
        product = scipy.fft.rfft2(images, s=self.grid, workers=-1) * self.power[band].astype(images.dtype)
        return scipy.fft.irfft2(product, s=self.grid, workers=-1)[..., :height, :width]


def make_seen(posterior) -> Seen:
    """Return what the observation of a posterior sees."""
    psfs = np.asarray(posterior.observation.psfs)
    weights = np.asarray(posterior.observation.inverse_variance, float)
    largest = [max(s.shape[axis] for s in posterior.scene.sources) for axis in (0, 1)]
    grid = fast_shape(
        tuple(max(w, n) + p for w, n, p in zip(weights.shape[1:], largest, psfs.shape[1:], strict=True))
    )
    kernels = psf_transforms(psfs, grid) / posterior.scene.model_psf.transform(grid)
    smooth = _smooth_weights(weights, np.fft.irfft2(kernels, s=grid) ** 2)
    power = np.abs(kernels) ** 2
    correlation = scipy.fft.irfft2(power, s=grid)
    return Seen(power, correlation, np.sqrt(smooth), grid, make_renderer(posterior.scene, None))


class Information(NamedTuple):
    """The Gauss-Newton information on the images of one object, fluxes projected out, all bands together.

    Attributes
    ----------
    y, x
        Pixels of the frame that the values belong to.
    boxes
        Origin (y, x) and shape of the box of each image.
    factors
        V of each band, 0 off the frame.
    mixed, inverse_fisher
        C and the inverse of F of each band.
    seen
        What the observation sees.
    """

    y: np.ndarray
    x: np.ndarray
    boxes: list[tuple[tuple[int, int], tuple[int, int]]]
    factors: Float[np.ndarray, "band n"]
    mixed: Float[np.ndarray, "band n column"]
    inverse_fisher: Float[np.ndarray, "band column column"]
    seen: Seen

    def dense(self) -> Float[np.ndarray, "n n"]:
        """Return the matrix."""
        mixed = np.concatenate(self.mixed, axis=1)
        total = np.concatenate(
            [-m @ inverse for m, inverse in zip(self.mixed, self.inverse_fisher, strict=True)], axis=1
        )
        total = total @ mixed.T
        begins = np.cumsum([0, *(height * width for _, (height, width) in self.boxes)])
        parts = [slice(*ends) for ends in pairwise(begins)]
        for rows, first in zip(parts, self.boxes, strict=True):
            for columns, second in zip(parts, self.boxes, strict=True):
                block = total[rows, columns].reshape(*first[1], *second[1])
                for factor, correlation in zip(self.factors, self.seen.correlation, strict=True):
                    left = factor[rows].reshape(*first[1], 1, 1)
                    right = factor[columns].reshape(second[1])
                    block += left * _of_lags(correlation, first, second) * right
        return total

    def apply(self, columns: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return the matrix times columns, in their precision."""
        if self.y.size <= MAX_DENSE_PIXELS:
            return self.dense().astype(columns.dtype) @ columns
        return self._by_transforms(columns)

    def _by_transforms(self, columns: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return the same, one band and all columns at a time, without the matrix."""
        height, width = self.seen.root_weight.shape[1:]
        # Pixels to frame and back: sums, since components of one object share pixels.
        place = scipy.sparse.csr_array(
            (np.ones(self.y.size, columns.dtype), (self.y * width + self.x, np.arange(self.y.size))),
            shape=(height * width, self.y.size),
        )
        total = np.zeros_like(columns)
        for band, (factor, mixed, inverse) in enumerate(
            zip(
                *(a.astype(columns.dtype) for a in (self.factors, self.mixed, self.inverse_fisher)),
                strict=True,
            )
        ):
            images = (place @ (factor[:, None] * columns)).T.reshape(-1, height, width)
            seen = self.seen.correlate(images, band).reshape(len(images), -1)
            total += factor[:, None] * (place.T @ seen.T)
            total -= mixed @ (inverse @ (mixed.T @ columns))
        return total


def information_of(posterior, seen, members, values, slopes, brightness) -> Information:
    """Return the information on the images of one object, in the coordinates of samplers.

    ``slopes`` are the derivatives of u by those, by name, where they are not 1.
    """
    pixels, factors, boxes = [], [], []
    for index in members:
        source = posterior.scene.sources[index]
        where, visible = visibility(seen, source, values)
        visible = visible * np.ravel(slopes.get(f"{source.name}.image", 1.0))
        boxes.append((source.origin, source.shape))
        factors.append(brightness[:, index, None] * visible)
        pixels.append(where)
    (y, x), factors = np.concatenate(pixels, axis=1), np.concatenate(factors, axis=1)
    images = seen.root_weight * _model_images(posterior, seen.renderer, members[0], values)
    correlated = seen.correlate(images)
    mixed = factors[:, :, None] * np.moveaxis(correlated[:, :, y, x], 0, 2)
    fisher = np.einsum("kbyx,lbyx->bkl", images, correlated)
    fisher += np.asarray(posterior.flux_prior.precision, float)
    inverse_fisher = np.linalg.pinv(fisher, rcond=1e-12, hermitian=True)
    return Information(y, x, boxes, factors, mixed, inverse_fisher, seen)


def _of_lags(correlation: Float[np.ndarray, "gy gx"], first, second) -> Float[np.ndarray, "h1 w1 h2 w2"]:
    """Return the correlation of each pixel of one box with each of another, a view of that of all their lags."""
    lags = [np.arange(1 - n2, n1) + o1 - o2 for o1, n1, o2, n2 in zip(*first, *second, strict=True)]
    of_lags = correlation[np.ix_(*(lag % size for lag, size in zip(lags, correlation.shape, strict=True)))]
    return np.lib.stride_tricks.sliding_window_view(of_lags, second[1])[:, :, ::-1, ::-1]


def visibility(seen: Seen, source, values):
    r"""Return where pixels of a source are in the frame, (2, n), and :math:`\frac{dS}{du}\sqrt{\tilde w}` there."""
    height, width = seen.root_weight.shape[1:]
    y, x = (o + np.arange(n) for o, n in zip(source.origin, source.shape, strict=True))
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    u = np.asarray(values[f"{source.name}.image"], float)
    slope = inside * COORDINATE_SCALE * np.exp(COORDINATE_SCALE * u)
    visible = slope * seen.root_weight[:, y[:, None], x]
    return np.stack(np.meshgrid(y, x, indexing="ij")).reshape(2, -1), visible.reshape(len(visible), -1)


def _model_images(posterior, renderer: Renderer, index: int, values) -> Float[np.ndarray, "column 1 y x"]:
    """Return all columns on the model grid, moved so that the pixels of one source are whole ones."""
    source = posterior.scene.sources[index]
    center = np.asarray(values[f"{source.name}.center"])
    offset = center - np.asarray(source.box_center, center.dtype)
    moved = {
        name: to_jax(np.asarray(v) - offset) if name.endswith(".center") else v for name, v in values.items()
    }
    images = _columns(renderer, moved, posterior.unit_flux)
    images = np.asarray(images, float)
    num_columns = posterior.flux_prior.mean.shape[1]
    return np.concatenate([images, np.ones((num_columns - len(images), *images.shape[1:]))])


@quick_jit
def _columns(renderer: Renderer, values: dict[str, Array], unit_flux: bool) -> Float[Array, "source 1 y x"]:
    return renderer.columns(values, unit_flux)


def _smooth_weights(weights: Float[np.ndarray, "band y x"], squared: Float[np.ndarray, "band gy gx"]):
    """Return weights averaged with the squared kernel, whose origin is at the corner of its grid."""
    shape = [w + g for w, g in zip(weights.shape[1:], squared.shape[1:], strict=True)]
    half = [g // 2 for g in squared.shape[1:]]
    centered = np.roll(squared, half, axis=(1, 2))
    product = scipy.fft.rfft2(weights, s=shape) * np.conj(scipy.fft.rfft2(centered, s=shape))
    moved = np.roll(scipy.fft.irfft2(product, s=shape), half, axis=(1, 2))
    smooth = moved[:, : weights.shape[1], : weights.shape[2]] / squared.sum(axis=(1, 2))[:, None, None]
    return np.maximum(smooth, 0)
