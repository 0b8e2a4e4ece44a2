"""Runs over several scenes, and the one catalog that has a row for every source of them."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from astropy.table import QTable

from scoresample.data.readers import read_catalog, scene_suffix
from scoresample.errors import FAILED, ConfigError, ScoresampleWarning, is_failure, one_line
from scoresample.products.catalog import failed_catalog
from scoresample.products.columns import PER_BAND, PLAIN, flux_unit, new_catalog
from scoresample.products.pipeline import SceneResult, run_scene
from scoresample.products.pipeline_files import CATALOGS
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.tables import write_catalog


def run_scenes(
    paths: Sequence[str | Path],
    out: str | Path,
    settings: RunSettings | None = None,
    *,
    resume: bool = False,
    progress: bool = False,
    begun: Callable[[str], None] | None = None,
    ended: Callable[[SceneResult], None] | None = None,
) -> list[SceneResult]:
    """Run scenes one after the other; one that fails does not stop the rest.

    Parameters
    ----------
    paths
        Scene files, with different names.
    out
        Every scene has a folder of its name here. ``fluxes.fits`` and ``fluxes.ecsv`` have a row for every
        source of every scene, those that failed with a status and flags.
    settings, resume, progress
        See `run_scene`.
    begun, ended
        Called with the name of a scene before it, and with its result after it.

    Returns
    -------
    The results in order. After Ctrl-C the scenes that were not begun have status ``not run``. When no scene
    could be run at all, nothing is written.

    Raises
    ------
    FileFormatError
        If a file is of unknown type.
    ConfigError
        If two scenes have the same name.
    """
    paths, out = [Path(path) for path in paths], Path(out)
    names = [path.name[: -len(scene_suffix(path))] for path in paths]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(
            f"{len(twice)} scene files are called {twice[0]!r}; give every scene a name of its own."
        )
    results: list[SceneResult] = []
    for name, path in zip(names, paths, strict=True):
        if results and results[-1].status in ("interrupted", "not run"):
            results.append(SceneResult(name, "not run", False, None, {}))
            continue
        if begun is not None:
            begun(name)
        try:
            result = run_scene(path, out / name, settings, resume=resume, progress=progress)
        except Exception as error:
            if not is_failure(error):
                raise
            reason = one_line(error)
            result = SceneResult(name, f"{FAILED}{reason}", False, None, {})
        results.append(result)
        if ended is not None:
            ended(result)
    known = [result.table for result in results if result.table is not None]
    units = {table.meta["flux_unit"] for table in known}
    if len(units) > 1:
        warnings.warn(
            f"the scenes have fluxes in different units ({', '.join(repr(u) for u in sorted(units))}), so there is no "
            "catalog of them all; each scene's own is in its folder. Run scenes of one unit together.",
            ScoresampleWarning,
            stacklevel=2,
        )
    elif known:
        bands = list(dict.fromkeys(band for table in known for band in table.meta["bands"]))
        tables = [
            failed_rows(path, result, bands, *units) if result.table is None else result.table
            for path, result in zip(paths, results, strict=True)
        ]
        combined = combine(tables, bands)
        for name in CATALOGS:
            write_catalog(combined, out / name)
    return results


def failed_rows(path: Path, result: SceneResult, bands: Sequence[str], unit: str) -> QTable:
    """Return a row for every source of a scene without fluxes; one with an empty id if not even they can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ScoresampleWarning)  # the run has shown them
            catalog = read_catalog(path)
        ids, centers = catalog.object_id, catalog.centers
    except Exception as error:
        if not is_failure(error):
            raise
        ids, centers = [""], [[np.nan, np.nan]]
    return failed_catalog(result.name, ids, centers, bands, unit, result.status)


def combine(tables: Iterable[QTable], bands: Sequence[str]) -> QTable:
    """Return the rows of several flux catalogs in one unit as one catalog.

    Parameters
    ----------
    tables
        From `flux_catalog` or `failed_catalog`.
    bands
        All bands of the new catalog. In those that a scene lacks its fluxes are NaN, with ``flag_noData``; and
        so are ``ra`` and ``dec`` of a scene without a WCS, with ``flag_noPosition``, when others have them.
    """
    tables = [table for table in tables if len(table)]
    columns = {}
    for name in (name for name in PLAIN if any(name in table.colnames for table in tables)):
        parts = [_values(table, name, bands) for table in tables]
        columns[name] = np.concatenate(parts)
    lacks = np.concatenate([np.full(len(t), bool(set(bands) - set(t.meta["bands"]))) for t in tables])
    columns["flag_noData"] = columns["flag_noData"] | lacks
    if "ra" in columns:
        columns["flag_noPosition"] = ~np.isfinite(columns["ra"])
    per_band = {
        name: np.stack(
            [np.concatenate([_values(table, f"{band}_{name}", bands) for table in tables]) for band in bands],
            axis=1,
        )
        for name in PER_BAND
        if f"{tables[0].meta['bands'][0]}_{name}" in tables[0].colnames
    }
    scenes = list(dict.fromkeys(str(table.meta["sceneId"]) for table in tables))
    meta = {
        "sceneId": "several",
        "scenes": scenes,
        "converged": all(table.meta["converged"] for table in tables),
    }
    return new_catalog(columns, per_band, bands, flux_unit(tables[0].meta["flux_unit"]), meta)


def _values(table: QTable, name: str, bands: Sequence[str]) -> np.ndarray:
    """Return a column without its unit, NaN where the table lacks it; covariances in the order of ``bands``."""
    if name not in table.colnames:
        return np.full(len(table), False if name.startswith("flag_") else np.nan)
    values = np.asarray(getattr(table[name], "value", table[name]))
    if name != "flux_Cov":
        return values
    at = [bands.index(band) for band in table.meta["bands"]]
    square = np.full((len(table), len(bands), len(bands)), np.nan)
    square[:, np.asarray(at)[:, None], at] = values
    return square
