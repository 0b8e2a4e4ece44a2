"""Read scene files of FITS: extensions IMAGE_g, VARIANCE_g or WEIGHT_g, MASK_g, PSF_g per band, and table CATALOG."""

import gzip
import io
import warnings
import zlib
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from jaxtyping import Float

from scoresample.data.checks import as_float
from scoresample.data.frame import wcs_text
from scoresample.data.rawscene import RawScene
from scoresample.errors import DataError, FileFormatError, ScoresampleError, ShapeError, one_line

ZEROPOINT_KEYS = ("MAGZERO", "ZEROPNT")  # AB magnitude of one pixel unit
IMAGE_HDUS = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
KINDS = ("IMAGE", "VARIANCE", "WEIGHT", "MASK", "PSF")


def load_fits(path: Path) -> RawScene:
    """Return the content of a FITS scene file; `FileFormatError` when it cannot be read.

    The first image header with a celestial WCS gives the coordinates; ``BUNIT`` the unit; ``MAGZERO`` or
    ``ZEROPNT`` the AB zeropoint per band; ``MP_<plane>`` the bits of the mask planes. A key ``BAND`` in the
    image header goes before the band name in the extension name, which many programs write in upper case.
    """
    try:
        with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as stream:
            content = io.BytesIO(stream.read())  # whole, so that a gzip file cut short is seen
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "(File may have been truncated|Error validating header)")
            with fits.open(content, lazy_load_hdus=False) as hdus:
                return _raw(path.name, hdus)
    except ScoresampleError:
        raise
    except (
        OSError,
        EOFError,
        TypeError,
        ValueError,
        KeyError,
        zlib.error,
        VerifyError,
        AstropyUserWarning,
    ) as error:
        raise FileFormatError(
            f"{path.name} cannot be read as FITS ({one_line(error)}): it is truncated or no FITS file; copy it again."
        ) from None


def _raw(source: str, hdus: fits.HDUList) -> RawScene:
    """Return the content of open extensions."""
    found = tuple(hdu.name for hdu in hdus if hdu.name)
    planes: dict[str, dict[str, fits.hdu.base._BaseHDU]] = {kind: {} for kind in KINDS}
    for hdu in hdus:
        kind, _, suffix = str(hdu.header.get("EXTNAME", "")).partition("_")
        if kind.upper() in planes and suffix and isinstance(hdu, IMAGE_HDUS):
            if suffix in planes[kind.upper()]:
                raise DataError(f"{source} has two extensions {kind}_{suffix}; give every band its own name.")
            planes[kind.upper()][suffix] = hdu
    suffixes = tuple(planes["IMAGE"])
    headers = [hdu.header for hdu in planes["IMAGE"].values()]
    masks = planes["MASK"]
    if masks:  # a band without a mask has all its pixels
        first = next((hdu.data for hdu in masks.values() if hdu.data is not None), np.zeros((0, 0), np.int32))
        empty = fits.ImageHDU(np.zeros_like(first))
        masks = {band: masks.get(band, empty) for band in suffixes}
    return RawScene(
        source=source,
        found=found,
        calls={
            "bands": "extension IMAGE_<band>",
            "images": "extension IMAGE_<band>",
            "psfs": "extension PSF_<band>",
            "catalog": "table extension CATALOG",
        },
        bands=tuple(str(h.get("BAND", s)) for h, s in zip(headers, suffixes, strict=True)) or None,
        images=_stack(source, "IMAGE", planes["IMAGE"], suffixes),
        variance=_stack(source, "VARIANCE", planes["VARIANCE"], suffixes),
        weights=_stack(source, "WEIGHT", planes["WEIGHT"], suffixes),
        mask=_stack(source, "MASK", masks, suffixes),
        mask_planes=_mask_planes(source, [hdu.header for hdu in masks.values()]),
        psfs=_stack(source, "PSF", planes["PSF"], suffixes),
        zeropoint=_zeropoints(source, headers),
        flux_unit=_same(source, "BUNIT", [str(h.get("BUNIT", "")).strip() for h in headers]) or "",
        wcs=next((text for text in map(wcs_text, headers) if text is not None), None),
        catalog=_catalog(hdus),
    )


def _stack(source: str, kind: str, planes: dict, bands: tuple[str, ...]) -> np.ndarray | None:
    """Return one array (band, y, x) of the extensions of a kind; None when there are none."""
    if not planes:
        return None
    missing = [band for band in bands if band not in planes]
    if missing:
        raise FileFormatError(
            f"{source} has no extension {kind}_{missing[0]}, but other bands have it; add it."
        )
    data = {band: planes[band].data for band in bands}
    empty = [band for band, array in data.items() if array is None]
    if empty:
        raise FileFormatError(f"{source}: extension {kind}_{empty[0]} holds no pixels; write its image.")
    if kind == "PSF":
        data = _same_size(data)
    if len({array.shape for array in data.values()}) > 1:
        shapes = {band: array.shape for band, array in data.items()}
        raise ShapeError(
            f"{source}: {kind} shapes differ between bands: {shapes}; cut all to the same pixels."
        )
    return np.stack([array.astype(array.dtype.newbyteorder("=")) for array in data.values()])


def _same_size(psfs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return PSF images padded with zeros, evenly on both sides, to the largest; others than 2-d unchanged."""
    if any(psf.ndim != 2 for psf in psfs.values()):
        return psfs
    size = np.max([psf.shape for psf in psfs.values()], axis=0)
    margins = {band: size - psf.shape for band, psf in psfs.items()}
    if any((margin % 2).any() for margin in margins.values()):
        return psfs  # padding would move the center by half a pixel
    return {band: np.pad(psf, [(m // 2, m // 2) for m in margins[band]]) for band, psf in psfs.items()}


def _same(source: str, key: str, values: list):
    """Return the value that all bands share, or raise `DataError`."""
    if len(set(values)) > 1:
        raise DataError(f"{source}: {key} differs between bands: {values}; bring all to one.")
    return values[0] if values else None


def _mask_planes(source: str, headers: list[fits.Header]) -> dict[str, int] | None:
    """Return the bits that the MP_ keys of mask headers give; None without such keys."""
    found = [{k[3:]: v for k, v in header.items() if k.startswith("MP_")} for header in headers]
    for name, bit in ((name, bit) for header in found for name, bit in header.items()):
        if not isinstance(bit, int):
            raise FileFormatError(f"{source}: MP_{name} is {bit!r}; needed the number of a bit.")
    planes = [p for p in found if p]
    return (
        dict(_same(source, "MP_ (mask planes)", [tuple(sorted(p.items())) for p in planes]))
        if planes
        else None
    )


def _zeropoints(source: str, headers: list[fits.Header]) -> Float[np.ndarray, " band"] | None:
    """Return the zeropoint per band; None without zeropoints."""
    values = [next((h[key] for key in ZEROPOINT_KEYS if key in h), None) for h in headers]
    if all(value is None for value in values):
        return None
    if any(value is None for value in values):
        raise FileFormatError(
            f"{source}: only some bands have a zeropoint ({values}); give it for all or none."
        )
    return as_float(values, "zeropoint")


def _catalog(hdus: fits.HDUList) -> Table | None:
    """Return the table CATALOG, or else the only table of the file."""
    tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
    named = [hdu for hdu in tables if hdu.name.upper() == "CATALOG"] or (tables if len(tables) == 1 else [])
    if not named:
        return None
    table = Table.read(named[0])
    table.convert_bytestring_to_unicode()
    return table
