"""Which pixels a mask takes out: booleans, or bit planes of which only the bad ones count."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from scoresample.errors import DataError

# Bits of LSST and HSC masks where the file does not say otherwise; DETECTED pixels are good.
LSST_PLANES = {
    "BAD": 0, "SAT": 1, "INTRP": 2, "CR": 3, "EDGE": 4, "DETECTED": 5, "DETECTED_NEGATIVE": 6, "SUSPECT": 7,
    "NO_DATA": 8,
}  # fmt: skip
BAD_PLANES = ("BAD", "SAT", "EDGE", "NO_DATA")


def bad_pixels(
    mask: np.ndarray,
    bands: Sequence[str],
    *,
    bad_planes: Sequence[str | int] | None = None,
    planes: Mapping[str, int] | None = None,
) -> Bool[np.ndarray, "band y x"]:
    """Return where a mask says that a pixel must not be used.

    Parameters
    ----------
    mask
        ``(band, y, x)``: boolean, True is bad; or integer bit planes.
    bands
        Band names, for messages.
    bad_planes
        Names or bit numbers of the planes that count; by default those of `BAD_PLANES` that exist. No
        meaning for a boolean mask.
    planes
        Bit number of every plane, as the file says; by default `LSST_PLANES`.

    Raises
    ------
    DataError
        A mask of another type, an unknown plane, or a mask that leaves no pixel in a band.
    """
    if mask.dtype.kind == "b":
        bad, which = mask, "mask"
    elif mask.dtype.kind in "iu":
        bits = _bits(bad_planes, LSST_PLANES if planes is None else planes)
        if bits and not 0 <= min(bits) <= max(bits) < 63:
            raise DataError(f"mask planes have bits {bits}; needed numbers from 0 to 62.")
        bad, which = (mask.astype(np.int64) & sum(1 << b for b in bits)) != 0, f"mask planes (bits {bits})"
    else:
        raise DataError(f"mask has dtype {mask.dtype}; needed boolean (True is bad) or integer bit planes.")
    full = [band for band, m in zip(bands, bad, strict=True) if m.all()]
    if full:
        raise DataError(
            f"{which} leave no pixel in band(s) {full}; name fewer bad_planes, or leave these bands out."
        )
    return bad


def _bits(bad_planes: Sequence[str | int] | None, planes: Mapping[str, int]) -> list[int]:
    """Return the bit numbers of the planes that count."""
    if bad_planes is None:
        return sorted({planes[name] for name in BAD_PLANES if name in planes})
    bits = set()
    for plane in [bad_planes] if isinstance(bad_planes, str) else bad_planes:
        text = str(plane).strip()
        if text.isdecimal() and int(text) < 63:
            bits.add(int(text))
        elif text.upper() in planes:
            bits.add(planes[text.upper()])
        else:
            raise DataError(
                f"mask plane {text!r} is unknown; known are {sorted(planes)}, or give bit numbers."
            )
    return sorted(bits)
