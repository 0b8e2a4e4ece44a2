"""Catalogs of detections: where the sources of a scene are, and the truth when it is known."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from jaxtyping import Bool, Float

from scoresample.data.checks import as_float
from scoresample.data.frame import Frame, as_centers
from scoresample.data.observation import Observation
from scoresample.data.values import Numbers
from scoresample.errors import DataError, ScoresampleWarning, ShapeError


@dataclass(frozen=True, eq=False)
class Catalog:
    """Detected sources of one scene. Make one with `make_catalog` or `Catalog.from_sky`.

    Parameters
    ----------
    centers
        Pixel positions ``(y, x)``, float64, counted as in `Frame`.
    object_id
        Names of the sources, all different.
    is_star
        Whether a source is known to be a star; False when nothing is known.
    true_flux
        True total flux per band, in the flux unit of the observation, for simulations; else None.
    bands
        Band names of ``true_flux``; empty without it.
    table
        Further columns of the input, one row per source, or None.
    components
        Ids of the input rows that make each source; more than one where rows were merged.
    """

    centers: Float[np.ndarray, "source 2"]
    object_id: np.ndarray
    is_star: Bool[np.ndarray, " source"]
    true_flux: Float[np.ndarray, "source band"] | None = None
    bands: tuple[str, ...] = ()
    table: Table | None = None
    components: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        """Return the number of sources."""
        return len(self.centers)

    @classmethod
    def from_sky(cls, sky: SkyCoord, frame: Frame, **columns) -> "Catalog":
        """Make a catalog of sky positions, placed in pixels by the WCS of a frame.

        ``columns`` are those of `make_catalog`. Raises `DataError` when the frame has no WCS.
        """
        return make_catalog(frame.to_pixel(sky), **columns)


def make_catalog(
    centers: Numbers,
    *,
    object_id: Numbers | None = None,
    is_star: Numbers | None = None,
    true_flux: Numbers | None = None,
    bands: Iterable[str] = (),
    table: Table | None = None,
    components: Sequence[Sequence[str]] | None = None,
) -> Catalog:
    """Check positions and make a catalog of them.

    Parameters
    ----------
    centers
        ``(source, 2)`` pixel positions ``(y, x)``.
    object_id
        One id per source; by default "0", "1", ...
    is_star
        One boolean per source; by default all False.
    true_flux
        ``(source, band)``, when known.
    bands
        Band names of ``true_flux``.
    table
        Further columns, one row per source.
    components
        Ids of the rows each source was merged from; by default its own id.

    Raises
    ------
    ShapeError
        Columns of different lengths, or centers that are not (source, 2).
    DataError
        No sources, a position or flux that is not finite, or an id that comes twice.
    """
    centers = as_centers(centers)
    count = len(centers)
    bad = ~np.isfinite(centers).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{int(bad.sum())} position(s) are not finite, first source {row} at (y, x) = "
            f"({centers[row, 0]:g}, {centers[row, 1]:g}); leave these sources out."
        )
    ids = np.arange(count).astype(str) if object_id is None else np.atleast_1d(object_id).astype(str)
    stars = np.zeros(count, bool) if is_star is None else np.atleast_1d(is_star)
    for name, column in (
        ("object_id", ids),
        ("is_star", stars),
        ("table", table),
        ("components", components),
    ):
        if column is not None and len(column) != count:
            raise ShapeError(
                f"{name} has {len(column)} entries but centers has {count}; give one per source."
            )
    for value in ids:
        if (ids == value).sum() > 1:
            raise DataError(
                f"object id {str(value)!r} comes {int((ids == value).sum())} times; give every source its own."
            )
    names = tuple(str(b) for b in bands)
    parts = [(i,) for i in ids] if components is None else components
    return Catalog(
        centers=centers,
        object_id=ids,
        is_star=stars.astype(bool),
        true_flux=None if true_flux is None else _true_flux(true_flux, count, names),
        bands=() if true_flux is None else names,
        table=table,
        components=tuple(tuple(str(i) for i in part) for part in parts),
    )


LEAST_SEEN = 1e-6
"""Share of the squared image of a source that data have to show. With less, the error of its flux is more than a
thousand times that without a mask: noise, or a faint wing of another source, would be taken for a flux of millions."""


def check_catalog(catalog: Catalog, observation: Observation) -> None:
    """Raise `DataError` for a source outside the image, or of which masks hide the center, and not the rest.

    A source whose pixel has data in some bands only stays, with a `ScoresampleWarning`: its flux in the others hangs
    on the pixels around. So does one that masks hide as a whole: of that the prior alone is known.
    """
    some, hidden = [], []
    height, width = observation.frame.shape
    weights = np.asarray(observation.inverse_variance)
    for name, (y, x) in zip(catalog.object_id, catalog.centers, strict=True):
        if not (-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5):
            raise DataError(
                f"source {str(name)!r} at (y, x) = ({y:.2f}, {x:.2f}) is outside the image of {height} x {width} "
                "pixels; leave it out. Positions are (y, x), counted from 0 at the center of the first pixel."
            )
        seen = weights[:, round(y), round(x)] > 0
        if seen.any() and not seen.all():
            dark = [band for band, one in zip(observation.frame.bands, seen, strict=True) if not one]
            some.append(f"{str(name)!r} in {', '.join(dark)}")
        if not seen.any() and _is_hidden(observation, round(y), round(x)):
            hidden.append(repr(str(name)))
        elif not seen.any():
            raise DataError(
                f"source {str(name)!r} at (y, x) = ({y:.2f}, {x:.2f}) is on a pixel that is masked (weight 0) in all "
                "bands; leave it out, or mask less."
            )
    _warn(some, "have their central pixel masked in some bands", "fluxes there hang on the pixels around.")
    _warn(
        hidden,
        "are left without data by masks",
        "where their whole box has none the prior alone is known, and no flux is given.",
    )


def _warn(sources: list[str], what: str, so: str) -> None:
    if sources:
        warnings.warn(
            f"{len(sources)} source(s) {what} ({'; '.join(sources[:5])}); {so}",
            ScoresampleWarning,
            stacklevel=3,
        )


def _is_hidden(observation: Observation, y: int, x: int) -> bool:
    """Return whether data show less than `LEAST_SEEN` of the square of a star on a pixel, in every band."""
    psfs, weights = np.asarray(observation.psfs), np.asarray(observation.inverse_variance)
    reach = max(psfs.shape[1:])
    seen = np.pad(weights > 0, ((0, 0), (reach, reach), (reach, reach)))
    top, left = (at + reach - n // 2 for at, n in zip((y, x), psfs.shape[1:], strict=True))
    seen = seen[:, top : top + psfs.shape[1], left : left + psfs.shape[2]]
    share = np.sum(psfs**2, axis=(1, 2), where=seen) / np.sum(psfs**2, axis=(1, 2))
    return bool((share < LEAST_SEEN).all())


def _true_flux(flux: Numbers, count: int, bands: tuple[str, ...]) -> Float[np.ndarray, "source band"]:
    """Return true fluxes as (source, band), checked."""
    out = as_float(flux, "true_flux")
    if out.shape != (count, len(bands)):
        raise ShapeError(
            f"true_flux has shape {out.shape}; needed (source, band) = {(count, len(bands))} for bands {list(bands)}."
        )
    if not np.isfinite(out).all():
        raise DataError("true_flux has values that are not finite; leave true_flux out when it is not known.")
    return out
