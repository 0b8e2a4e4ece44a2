"""The pixel grid of a scene, and the only conversions between sky and pixels."""

import warnings

import equinox as eqx
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, InconsistentAxisTypesError, WcsError
from jaxtyping import Float

from scoresample.data.values import Numbers
from scoresample.errors import DataError, ShapeError, one_line


class Frame(eqx.Module):
    """Grid, bands, sky coordinates and flux unit of a scene.

    Pixel positions are ``(y, x)``, counted from 0 at the center of the first pixel, so that the image covers
    -0.5 to H - 0.5 in y and -0.5 to W - 0.5 in x.

    Parameters
    ----------
    shape
        ``(H, W)`` in pixels.
    bands
        Band names, in the order of every band axis.
    flux_unit
        Unit of pixel values and fluxes as astropy writes it: ``"nJy"`` when the calibration is known, else
        the unit of the input, ``""`` when nothing is known.
    wcs_header
        FITS header text of a celestial coordinate system, one card per line, or None.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    bands: tuple[str, ...] = eqx.field(static=True)
    flux_unit: str = eqx.field(static=True, default="")
    wcs_header: str | None = eqx.field(static=True, default=None)

    @property
    def num_bands(self) -> int:
        """Number of bands."""
        return len(self.bands)

    @property
    def wcs(self) -> WCS:
        """The celestial coordinate system; `DataError` when the frame has none."""
        if self.wcs_header is None:
            raise DataError(
                "sky positions were asked of a frame without a WCS; give wcs_header when making the "
                "observation, or use pixel positions (y, x)."
            )
        return parse_wcs(self.wcs_header)

    def to_sky(self, centers: Numbers) -> SkyCoord:
        """Return the sky positions of pixel positions ``(y, x)``, shape (source, 2); `DataError` without a WCS."""
        y, x = as_centers(centers).T
        return self.wcs.pixel_to_world(x, y)

    def to_pixel(self, sky: SkyCoord) -> Float[np.ndarray, "source 2"]:
        """Return pixel positions ``(y, x)``, float64, of sky positions in any celestial frame.

        A single position comes back as one row. Raises `DataError` without a WCS.
        """
        x, y = self.wcs.world_to_pixel(sky)
        return np.stack([np.atleast_1d(y), np.atleast_1d(x)], axis=1).astype(np.float64)


def as_centers(centers: Numbers) -> Float[np.ndarray, "source 2"]:
    """Return positions as a float64 array ``(source, 2)``, or raise `ShapeError`."""
    try:
        if np.iscomplexobj(centers):
            raise TypeError("complex")
        out = np.asarray(centers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"centers are not numbers ({error}); give an array (source, 2) of (y, x).") from None
    if out.size == 0:
        raise DataError("there are no sources: centers is empty; give at least one position (y, x).")
    if out.ndim != 2 or out.shape[1] != 2:
        raise ShapeError(
            f"centers has shape {out.shape}; needed (source, 2) with columns (y, x). "
            "For a single source pass [[y, x]]."
        )
    return out


def parse_wcs(text: str) -> WCS:
    """Return the celestial WCS of header text (one card per line, or 80 characters per card).

    Raises `DataError` when the text holds no celestial coordinate system.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # what astropy mends by itself
            wcs = WCS(fits.Header.fromstring(text, sep="\n" if "\n" in text else ""))
    except (ValueError, KeyError, WcsError, InconsistentAxisTypesError, fits.VerifyError) as error:
        raise DataError(f"the WCS header cannot be read ({one_line(error)}); give FITS cards.") from None
    if not wcs.has_celestial:
        raise DataError(
            f"the WCS header has axes {list(wcs.wcs.ctype)}; needed a celestial pair such as RA---TAN, "
            "DEC--TAN. Leave the WCS out to work in pixels."
        )
    if not np.linalg.det(wcs.celestial.pixel_scale_matrix) != 0:
        raise DataError(
            f"the WCS maps pixels to no area (its CD matrix is {wcs.celestial.pixel_scale_matrix.tolist()}); mend it, "
            "or leave the WCS out to work in pixels."
        )
    return wcs.celestial


def wcs_text(header: fits.Header) -> str | None:
    """Return the celestial WCS of a FITS header as text, one card per line; None when it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            wcs = WCS(header)
        except (ValueError, KeyError, WcsError, InconsistentAxisTypesError, fits.VerifyError) as error:
            raise DataError(
                f"the WCS header cannot be read ({one_line(error)}); mend or remove it."
            ) from None
    if not wcs.has_celestial:
        return None
    return wcs.celestial.to_header(relax=True).tostring(sep="\n", endcard=False, padding=False)
