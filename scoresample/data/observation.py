"""An observation: images, inverse variances and PSFs on a frame."""

import warnings
from collections.abc import Iterable

import astropy.units as u
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.data import checks
from scoresample.data.frame import Frame, parse_wcs
from scoresample.data.units import unit_scale
from scoresample.data.values import Numbers
from scoresample.errors import DataError, ScoresampleWarning


class Observation(eqx.Module):
    """Images of one scene with their noise and their PSFs. Make one with `make_observation`.

    Parameters
    ----------
    frame
        Grid, bands, WCS and unit of the pixel values.
    images
        Pixel values in ``frame.flux_unit``; 0 where there is no data.
    inverse_variance
        In ``frame.flux_unit ** -2``; 0 where there is no data.
    psfs
        Image of the PSF per band, sum 1.
    name
        Scene id.
    noise_estimated
        Whether the variance was estimated from the images because the input had none.
    """

    frame: Frame
    images: Float[Array, "band y x"]
    inverse_variance: Float[Array, "band y x"]
    psfs: Float[Array, "band h w"]
    name: str = eqx.field(static=True, default="scene")
    noise_estimated: bool = eqx.field(static=True, default=False)


def make_observation(
    images: Numbers,
    inverse_variance: Numbers,
    psfs: Numbers,
    bands: Iterable[str],
    *,
    flux_unit: str = "",
    wcs_header: str | None = None,
    name: str = "scene",
    noise_estimated: bool = False,
) -> Observation:
    """Check arrays and make an observation of them.

    Parameters
    ----------
    images
        ``(band, y, x)``; numbers in ``flux_unit``, or an astropy Quantity, whose unit then counts. Units of
        flux density are converted to nJy, together with ``inverse_variance``.
    inverse_variance
        ``(band, y, x)``; 0 means no data: NaN is allowed in images only there. Numbers in the unit of the
        images to the power -2, or a Quantity.
    psfs
        ``(band, h, w)``, any size. Normalized to sum 1, with a warning when a sum is off by more than 1e-3.
    bands
        One name per band.
    flux_unit
        Unit of ``images`` as astropy writes it, ``""`` when unknown.
    wcs_header
        FITS header text with a celestial WCS.
    name
        Scene id.
    noise_estimated
        Say True when ``inverse_variance`` is a guess made from the images.

    Returns
    -------
    Observation with arrays in the canonical float type of jax (float32 unless 64-bit mode is on).

    Raises
    ------
    ShapeError
        Shapes that do not fit each other.
    DataError
        Values that cannot be used; the message names the first pixel.
    """
    names = checks.check_bands(bands)
    if isinstance(images, u.Quantity):
        images, flux_unit = images.value, images.unit.to_string()
    if isinstance(inverse_variance, u.Quantity):
        inverse_variance = _weight_values(inverse_variance, flux_unit)
    pixels = checks.as_float(images, "images")
    weights = checks.as_float(inverse_variance, "inverse_variance")
    kernels = checks.as_float(psfs, "psfs")
    checks.check_shapes(pixels, kernels, names)
    checks.check_same_shape("inverse_variance", weights, pixels)
    checks.check_weights(weights, names)
    checks.check_pixels(pixels, weights > 0, names)
    checks.check_psfs(kernels, names)
    if wcs_header is not None:
        parse_wcs(wcs_header)
    factor, unit = unit_scale(flux_unit)
    return Observation(
        frame=Frame(pixels.shape[1:], names, unit, wcs_header),
        images=_to_device(np.where(weights > 0, pixels, 0) * factor, "images"),
        inverse_variance=_to_device(weights / factor**2, "inverse_variance"),
        psfs=_to_device(_normalized(kernels, names), "psfs"),
        name=str(name),
        noise_estimated=bool(noise_estimated),
    )


def _weight_values(weights: u.Quantity, flux_unit: str) -> np.ndarray:
    """Return inverse variances as numbers in ``flux_unit ** -2``."""
    try:
        return weights.to_value(u.Unit(flux_unit) ** -2)
    except u.UnitConversionError:
        raise DataError(
            f"inverse_variance has unit '{weights.unit}' but images has unit {flux_unit!r}; needed the unit of "
            "the images to the power -2."
        ) from None


def _normalized(psfs: Float[np.ndarray, "band h w"], bands: tuple[str, ...]) -> Float[np.ndarray, "band h w"]:
    """Return PSFs of sum 1, and tell of those that were not."""
    sums = psfs.sum(axis=(1, 2))
    off = {
        b: float(f"{s:.5g}")
        for b, s in zip(bands, sums, strict=True)
        if abs(s - 1) > checks.PSF_SUM_TOLERANCE
    }
    if off:
        warnings.warn(
            f"PSFs are not normalized, sums per band are {off}: divided by their sum. Fluxes are those of "
            "normalized PSFs.",
            ScoresampleWarning,
            stacklevel=3,
        )
    return psfs / sums[:, None, None]


def _to_device(values: np.ndarray, name: str) -> Float[Array, "..."]:
    """Return a jax array; `DataError` when its float type cannot hold the values."""
    with np.errstate(over="ignore", under="ignore"):  # found below
        out = jnp.asarray(values)
    back = np.asarray(out)
    if not np.isfinite(back).all() or (name == "inverse_variance" and ((values > 0) & (back == 0)).any()):
        raise DataError(
            f"{name} has values from {values.min():.3g} to {values.max():.3g}, too large or too small for "
            f"{out.dtype}; use another flux unit, or turn on jax_enable_x64."
        )
    return out
