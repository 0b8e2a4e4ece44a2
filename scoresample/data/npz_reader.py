"""Read scene files of numpy: one key per field."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.table import Table

from scoresample.data.frame import as_centers
from scoresample.data.rawscene import RawScene
from scoresample.errors import FileFormatError, ShapeError, one_line

# Keys that mean one field; the first that exists counts.
ALIASES = {"bands": ("bands", "filters"), "weights": ("weights", "ivar", "inverse_variance")}

# What numpy and zipfile raise on truncated, changed or foreign files.
BROKEN = (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, RuntimeError,
          zipfile.BadZipFile, zlib.error)  # fmt: skip


def load_npz(path: Path) -> RawScene:
    """Return the content of an ``.npz`` scene file; `FileFormatError` when it cannot be read."""
    arrays = _arrays(path)
    try:
        return _raw(path.name, arrays)
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{path.name} holds text that is not UTF-8 ({one_line(error)}); write names as str or UTF-8 bytes."
        ) from None


def _raw(source: str, arrays: Mapping[str, np.ndarray]) -> RawScene:
    """Return the content of an archive's arrays."""
    bands, weights = (_first(arrays, names) for names in ALIASES.values())
    return RawScene(
        source=source,
        found=tuple(sorted(arrays)),
        calls={
            "bands": "key 'bands' (or 'filters')",
            "images": "key 'images'",
            "psfs": "key 'psfs'",
            "catalog": "key 'centers' (source, 2) or 'catalog' with fields x, y",
        },
        bands=None if bands is None else tuple(_text(b) for b in np.atleast_1d(bands)),
        images=arrays.get("images"),
        weights=weights,
        variance=arrays.get("variance"),
        mask=arrays.get("mask"),
        mask_planes=_planes(arrays["mask_planes"], source) if "mask_planes" in arrays else None,
        psfs=arrays.get("psfs"),
        zeropoint=arrays.get("zeropoint"),
        flux_unit=_text(arrays.get("flux_unit", "")),
        wcs=_text(arrays["wcs"]) if "wcs" in arrays else None,
        catalog=_catalog(arrays, source),
        true_flux=arrays.get("true_flux"),
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of an archive."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except BROKEN as error:
        raise FileFormatError(
            f"{path.name} cannot be read as .npz ({one_line(error)}): it is truncated, holds Python objects, or is "
            "no numpy archive; write it again with numpy.savez and plain arrays."
        ) from None


def _planes(rows: np.ndarray, source: str) -> dict[str, int]:
    """Return the bit number of every named mask plane."""
    try:
        planes = {_text(name): int(_text(bit)) for name, bit in rows}
    except UnicodeDecodeError:
        raise
    except (TypeError, ValueError):
        raise FileFormatError(
            f"{source}: key 'mask_planes' has shape {rows.shape} and type {rows.dtype}; needed rows of (name, bit)."
        ) from None
    return planes


def _first(arrays: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray | None:
    """Return the first array that exists."""
    return next((arrays[name] for name in names if name in arrays), None)


def _text(value) -> str:
    """Return a scalar of str or bytes as str."""
    item = np.asarray(value).item() if np.size(value) == 1 else value
    return item.decode() if isinstance(item, bytes) else str(item)


def _catalog(arrays: Mapping[str, np.ndarray], source: str) -> Table | None:
    """Return detections as a table with columns x and y (or ra and dec)."""
    rows = arrays.get("catalog")
    if rows is not None and rows.dtype.names is None:
        raise FileFormatError(
            f"{source}: key 'catalog' is a plain array of shape {rows.shape}; needed a structured array with "
            "fields x, y. Store plain positions (y, x) as 'centers'."
        )
    table = None if rows is None else Table(np.atleast_1d(rows))
    if "centers" in arrays:
        centers = as_centers(arrays["centers"])
        if table is None or len(table) != len(centers):
            if table is not None:
                raise ShapeError(
                    f"{source}: 'centers' has {len(centers)} rows but 'catalog' has {len(table)}."
                )
            table = Table()
        table["y"], table["x"] = centers.T
    if table is None:
        return None
    for name in ("object_id", "is_star"):
        if name in arrays:
            if len(np.atleast_1d(arrays[name])) != len(table):
                raise ShapeError(
                    f"{source}: {name!r} has {arrays[name].size} entries for {len(table)} sources."
                )
            table[name] = np.atleast_1d(arrays[name])
    table.convert_bytestring_to_unicode()
    return table
