"""Units of pixel values: everything that has a calibration becomes nJy."""

import warnings
from collections.abc import Sequence

import astropy.units as u
import numpy as np
from jaxtyping import Float

from scoresample.data.checks import as_float
from scoresample.data.values import Numbers
from scoresample.errors import DataError, ScoresampleWarning, ShapeError

NJY_ZEROPOINT = 31.4  # AB magnitude of 1 nJy
LARGEST_ZEROPOINT = 75.0  # in size; beyond it, nJy would not fit into single precision


def zeropoint_scale(zeropoint: Numbers, bands: Sequence[str]) -> Float[np.ndarray, " band"]:
    r"""Return the nJy in one pixel unit for AB zeropoints z.

    .. math:: c = 10^{(31.4 - z) / 2.5}

    Parameters
    ----------
    zeropoint
        AB magnitude of one pixel unit: a scalar, or one per band.
    bands
        Band names.

    Raises
    ------
    ShapeError
        Neither one number nor one per band.
    DataError
        Not finite numbers.
    """
    z = as_float(zeropoint, "zeropoint")
    if z.ndim > 1 or z.size not in (1, len(bands)):
        raise ShapeError(
            f"zeropoint has shape {z.shape} but there are {len(bands)} bands; give one AB magnitude, or one per band."
        )
    if not (np.abs(z) <= LARGEST_ZEROPOINT).all():
        raise DataError(
            f"zeropoint is {z.tolist()}; needed AB magnitudes, finite and at most {LARGEST_ZEROPOINT:g} in size. Leave "
            "it out when unknown."
        )
    return np.broadcast_to(10 ** ((NJY_ZEROPOINT - z.ravel()) / 2.5), (len(bands),))


def unit_scale(flux_unit: str) -> tuple[float, str]:
    """Return the factor to the unit in which pixels are kept, and that unit's name.

    Units of flux density (and maggies, as AB) go to ``"nJy"``; other known units stay (factor 1). A text
    that is no unit gives ``""`` with a `ScoresampleWarning`.
    """
    text = flux_unit.strip()
    if not text:
        return 1.0, ""
    unit = u.Unit(text, parse_strict="silent")
    if isinstance(unit, u.UnrecognizedUnit):  # headers write ADU where astropy has adu
        unit = u.Unit(text.lower(), parse_strict="silent")
    if isinstance(unit, u.UnrecognizedUnit):
        warnings.warn(
            f"flux unit {text!r} is not known to astropy: fluxes are given without a unit; give flux_unit or "
            "zeropoint to calibrate.",
            ScoresampleWarning,
            stacklevel=3,
        )
        return 1.0, ""
    try:
        return float(unit.to(u.nJy, equivalencies=u.zero_point_flux(u.ABflux))), "nJy"
    except u.UnitConversionError:
        return 1.0, unit.to_string()


def flux_scale(
    bands: Sequence[str], zeropoint: Numbers | None = None, flux_unit: str = ""
) -> tuple[Float[np.ndarray, " band"], str]:
    """Return factors per band that bring pixel values to one unit, and that unit.

    A zeropoint or a unit of flux density leads to nJy. Raises `DataError` when both are given and disagree.
    """
    factor, unit = unit_scale(flux_unit)
    if zeropoint is None:
        return np.full(len(bands), factor), unit
    scale = zeropoint_scale(zeropoint, bands)
    if unit == "nJy" and not np.allclose(scale, factor, rtol=1e-3):
        raise DataError(
            f"zeropoint {np.ravel(zeropoint).tolist()} and flux unit {flux_unit!r} disagree; give only the one "
            "that is right."
        )
    return scale, "nJy"
