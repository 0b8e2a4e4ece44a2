"""What a scene file holds, before any check: the common ground of all file types."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table

from scoresample.errors import FileFormatError


@dataclass(frozen=True, eq=False)
class RawScene:
    """Arrays and texts of a scene file, as they are stored; None where the file has none.

    Parameters
    ----------
    source
        File name, for messages.
    found
        Keys or extensions of the file, for messages.
    calls
        What this file type calls a field, where it is not the name of the field.
    bands, images, weights, variance, mask, psfs
        The fields of DESIGN section 3.
    mask_planes
        Bit number per plane name, as the file says.
    zeropoint, flux_unit, wcs
        Calibration; AB magnitude of one pixel unit, unit text, header text.
    catalog
        Detections, one row per component.
    true_flux
        ``(row, band)`` in pixel units.
    """

    source: str
    found: tuple[str, ...]
    calls: Mapping[str, str] = field(default_factory=dict)
    bands: tuple[str, ...] | None = None
    images: np.ndarray | None = None
    weights: np.ndarray | None = None
    variance: np.ndarray | None = None
    mask: np.ndarray | None = None
    mask_planes: Mapping[str, int] | None = None
    psfs: np.ndarray | None = None
    zeropoint: np.ndarray | None = None
    flux_unit: str = ""
    wcs: str | None = None
    catalog: Table | None = None
    true_flux: np.ndarray | None = None

    def need(self, name: str):
        """Return a field, or raise `FileFormatError` naming what the file has."""
        value = getattr(self, name)
        if value is None:
            raise FileFormatError(
                f"{self.source} has no {self.calls.get(name, name)}; found {list(self.found)}. Add it to the file."
            )
        return value
