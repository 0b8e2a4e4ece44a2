"""From the catalog table of a file to sources: positions, ids, truth, and components merged into objects."""

import warnings

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.units import UnitsError, deg
from jaxtyping import Bool, Float

from scoresample.data.catalog import Catalog, make_catalog
from scoresample.data.checks import as_float, check_bands
from scoresample.data.frame import Frame, as_centers
from scoresample.data.rawscene import RawScene
from scoresample.data.units import flux_scale
from scoresample.errors import FileFormatError, ScoresampleWarning, ShapeError

SAME_POSITION = 1e-6  # pixels
ID_COLUMNS = ("object_id", "objectId", "id", "index")


def build_catalog(scene: RawScene, frame: Frame | None = None) -> Catalog:
    """Return the sources of a scene file.

    Rows at one position are components of one object: they become one source, with the sum of their true
    fluxes, the further columns of their first row, and a `ScoresampleWarning`.

    Parameters
    ----------
    scene
        Content of a file.
    frame
        Gives the WCS for a table that has only ra and dec, where the file has no WCS itself.
    """
    table = scene.need("catalog")
    if len(table) == 0:
        raise FileFormatError(f"{scene.source}: the catalog has no sources; give at least one row.")
    centers = as_centers(_centers(scene, table, frame))
    groups = _same_position(centers)
    id_column = next((name for name in ID_COLUMNS if name in table.colnames), None)
    ids = np.asarray(table[id_column] if id_column else np.arange(len(table))).astype(str)
    stars = (
        _flags(table, "is_star", scene.source) if "is_star" in table.colnames else np.zeros(len(table), bool)
    )
    truth, bands = _truth(scene, table)
    first = [rows[0] for rows in groups]
    components = tuple(tuple(ids[rows]) for rows in groups)
    if len(groups) < len(table):
        merged = "; ".join("+".join(ids[rows]) for rows in groups if len(rows) > 1)
        warnings.warn(
            f"{scene.source}: {len(table)} catalog rows are {len(groups)} objects: rows at the same position were "
            f"merged (ids {merged}). Move them apart by more than {SAME_POSITION:g} pixel to keep them separate.",
            ScoresampleWarning,
            stacklevel=3,
        )
    return make_catalog(
        centers[first],
        object_id=ids[first],
        is_star=[stars[rows].all() for rows in groups],
        true_flux=None if truth is None else np.stack([truth[rows].sum(axis=0) for rows in groups]),
        bands=bands,
        table=_further(table, id_column, first),
        components=components,
    )


def _centers(scene: RawScene, table: Table, frame: Frame | None) -> Float[np.ndarray, "row 2"]:
    """Return pixel positions (y, x) from columns x, y, or ra, dec (ICRS, degrees unless they have a unit)."""
    names = set(table.colnames)
    if {"x", "y"} <= names:
        return np.stack([_numbers(table, "y", scene.source), _numbers(table, "x", scene.source)], axis=1)
    if not {"ra", "dec"} <= names:
        raise FileFormatError(
            f"{scene.source}: the catalog has columns {table.colnames}; needed x and y (pixels), or ra and dec."
        )
    if scene.wcs is not None:
        frame = Frame((1, 1), (), "", scene.wcs)
    if frame is None:
        raise FileFormatError(
            f"{scene.source}: the catalog has ra and dec but the file has no WCS; add it, or pass the frame of the "
            "observation."
        )
    try:
        ra, dec = (_numbers(table, name, scene.source) * (table[name].unit or deg) for name in ("ra", "dec"))
        return frame.to_pixel(SkyCoord(ra, dec))
    except (TypeError, UnitsError) as error:
        raise FileFormatError(
            f"{scene.source}: ra and dec cannot be read ({error}); give them in degrees."
        ) from None


def _numbers(table: Table, name: str, source: str) -> Float[np.ndarray, " row"]:
    """Return a column as float64, NaN where it is masked."""
    column = np.ma.asarray(table[name])
    if column.dtype.kind not in "fiu" or column.ndim != 1:
        raise FileFormatError(
            f"{source}: catalog column {name!r} holds {column.dtype}; needed one number per row."
        )
    return column.astype(np.float64).filled(np.nan)


def _image_sums(table: Table, name: str, source: str) -> Float[np.ndarray, " row"]:
    """Return the sum of the image that a column holds in each row."""
    images = as_float(table[name], f"catalog column {name!r}")
    if images.ndim != 3:
        raise FileFormatError(
            f"{source}: catalog column {name!r} has shape {images.shape}; needed one image (y, x) per row."
        )
    return images.sum(axis=(1, 2))


def _flags(table: Table, name: str, source: str) -> Bool[np.ndarray, " row"]:
    """Return a column of truth values, or of the numbers 0 and 1."""
    column = np.asarray(table[name])
    if column.ndim != 1 or column.dtype.kind not in "biuf" or not np.isin(column, (0, 1)).all():
        raise FileFormatError(
            f"{source}: catalog column {name!r} holds {column.dtype} such as {column.ravel().tolist()[0]!r}; needed "
            "True or False per row."
        )
    return column.astype(bool)


def _same_position(centers: Float[np.ndarray, "row 2"]) -> list[list[int]]:
    """Return the rows of every object, in the order of their first rows."""
    groups: list[list[int]] = []
    for row, center in enumerate(centers):
        for rows in groups:
            if np.abs(centers[rows[0]] - center).max() <= SAME_POSITION:
                rows.append(row)
                break
        else:
            groups.append([row])
    return groups


def _truth(scene: RawScene, table: Table) -> tuple[Float[np.ndarray, "row band"] | None, tuple[str, ...]]:
    """Return the true flux per row in the unit of the observation, and its bands."""
    bands = check_bands(scene.bands or ())
    if scene.true_flux is not None:
        flux = as_float(scene.true_flux, "true_flux")
        if flux.shape != (len(table), len(bands)):
            raise ShapeError(
                f"{scene.source}: true_flux has shape {flux.shape}; needed (source, band) = {(len(table), len(bands))}."
            )
    elif bands and all(f"true_flux_{b}" in table.colnames for b in bands):
        flux = np.stack([_numbers(table, f"true_flux_{b}", scene.source) for b in bands], axis=1)
    elif bands and all(f"intensity_{b}" in table.colnames for b in bands):
        flux = np.stack([_image_sums(table, f"intensity_{b}", scene.source) for b in bands], axis=1)
    else:
        return None, ()
    return flux * flux_scale(bands, scene.zeropoint, scene.flux_unit)[0], bands


def _further(table: Table, id_column: str | None, rows: list[int]) -> Table | None:
    """Return the columns that have no place of their own in a `Catalog`; None when there are none."""
    used = {"x", "y", "ra", "dec", "is_star", id_column}
    names = [n for n in table.colnames if n not in used and not n.startswith(("true_flux_", "intensity_"))]
    return table[names][rows] if names else None
