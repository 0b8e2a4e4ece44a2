"""Checks of the arrays that make an observation: each failure is one line that says what to do."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from scoresample.data.values import Numbers
from scoresample.errors import DataError, ShapeError

PSF_SUM_TOLERANCE = 1e-3  # a sum further from 1 than this is told to the user when normalizing


def as_float(values: Numbers, name: str) -> np.ndarray:
    """Return an array of float64; masked entries become NaN so that they cannot pass unseen."""
    try:
        if isinstance(values, np.ma.MaskedArray):
            values = values.astype(np.float64).filled(np.nan)
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"dtype {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} does not hold real numbers ({error}); give a real array.") from None


def check_shapes(images: np.ndarray, psfs: np.ndarray, bands: Sequence[str]) -> None:
    """Raise `ShapeError` unless images and psfs are (band, y, x) and fit the band names."""
    for name, array in (("images", images), ("psfs", psfs)):
        if array.ndim != 3:
            raise ShapeError(
                f"{name} has shape {array.shape}; needed 3 axes (band, y, x). For a single band, pass "
                f"{name}[None]."
            )
        if array.shape[0] != len(bands):
            raise ShapeError(
                f"{name} has shape {array.shape} but there are {len(bands)} bands {list(bands)}; the first axis "
                "is the band. Give one image, one PSF and one name per band."
            )
    if images.size == 0:
        raise ShapeError(f"images has shape {images.shape}, which holds no pixel; give at least one pixel.")


def check_same_shape(name: str, array: np.ndarray, images: np.ndarray) -> None:
    """Raise `ShapeError` unless an array has the shape of the images."""
    if array.shape != images.shape:
        hint = (
            "For a single band, pass them with [None]." if array.ndim == 2 else "Cut them to the same pixels."
        )
        raise ShapeError(
            f"{name} has shape {array.shape} but images has shape {images.shape}; both are (band, y, x). {hint}"
        )


def check_bands(bands: Iterable[str]) -> tuple[str, ...]:
    """Return the band names as a tuple of str, or raise `DataError` when one is empty or comes twice."""
    names = tuple(str(b) for b in bands)
    for name in names:
        if not name.strip():
            raise DataError(f"bands are {list(names)}: a name is empty; give every band a name.")
        if names.count(name) > 1:
            raise DataError(
                f"band {name!r} comes {names.count(name)} times in {list(names)}; give every band its own name."
            )
    return names


def first_pixel(bad: Bool[np.ndarray, "band y x"], bands: Sequence[str]) -> str:
    """Return the count and the first place of bad pixels, for an error message."""
    b, y, x = np.argwhere(bad)[0]
    return f"{int(bad.sum())} pixel(s), first in band {bands[b]!r} at (y, x) = ({y}, {x})"


def check_pixels(
    images: Float[np.ndarray, "band y x"], used: Bool[np.ndarray, "band y x"], bands: Sequence[str]
) -> None:
    """Raise `DataError` where a pixel that counts is NaN or infinite."""
    bad = used & ~np.isfinite(images)
    if bad.any():
        raise DataError(
            f"images is not finite where the weight is positive: {first_pixel(bad, bands)}; "
            "give such pixels weight 0, or mask them."
        )


def check_variance(
    variance: Float[np.ndarray, "band y x"], used: Bool[np.ndarray, "band y x"], bands: Sequence[str]
) -> None:
    """Raise `DataError` where the variance of an unmasked pixel is not a positive number."""
    bad = used & ~(np.isfinite(variance) & (variance > 0))
    if bad.any():
        raise DataError(
            f"variance is zero, negative or not finite on unmasked pixels: {first_pixel(bad, bands)}; "
            "mask these pixels, or give weights with 0 there."
        )


def check_weights(weights: Float[np.ndarray, "band y x"], bands: Sequence[str]) -> None:
    """Raise `DataError` unless weights are finite, not negative, and positive somewhere in every band."""
    for bad, what in ((~np.isfinite(weights), "not finite"), (weights < 0, "negative")):
        if bad.any():
            raise DataError(
                f"weights (inverse variance) are {what}: {first_pixel(bad, bands)}; "
                "needed numbers >= 0, where 0 means no data."
            )
    empty = [band for band, w in zip(bands, weights, strict=True) if not (w > 0).any()]
    if empty:
        raise DataError(
            f"weights are zero on all pixels of band(s) {empty}; leave these bands out, or check weights and mask."
        )


def check_psfs(psfs: Float[np.ndarray, "band h w"], bands: Sequence[str]) -> None:
    """Raise `DataError` when a PSF is empty, not finite, or its sum is not positive."""
    if 0 in psfs.shape[1:]:
        raise DataError(f"psfs has shape {psfs.shape}: the PSF is empty; give an image of the PSF per band.")
    for band, psf in zip(bands, psfs, strict=True):
        if not np.isfinite(psf).all():
            raise DataError(
                f"PSF of band {band!r} has {int((~np.isfinite(psf)).sum())} pixel(s) that are not finite; "
                "give a PSF of finite numbers."
            )
        if psf.sum() <= 0:
            raise DataError(
                f"PSF of band {band!r} sums to {psf.sum():.4g}; needed a positive sum. Check its sign and that "
                "it is not empty."
            )
