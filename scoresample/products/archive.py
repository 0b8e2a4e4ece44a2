"""Draws and reports as files."""

import json
from pathlib import Path
from typing import Any

import h5netcdf  # noqa: F401, the engine below, imported here so that its absence shows at once
import numpy as np
import xarray as xr

from scoresample.density.posterior import Posterior
from scoresample.diagnostics.arviz import to_arviz
from scoresample.errors import ConfigError, FileFormatError
from scoresample.numerics.files import replacing
from scoresample.numerics.trees import named_leaves
from scoresample.products.plain import plain
from scoresample.samplers.base import Draws

THINNING = 10


def save_draws(path: str | Path, draws: Draws, *, images: str = "thin") -> None:
    """Write draws to a netCDF file that xarray and arviz read.

    Parameters
    ----------
    path
        Replaced when it exists.
    draws
        From `sample`. Its settings go into the attribute ``settings`` of the root, notes on the scene into
        ``scene``, both as json.
    images
        What to keep of the images, and of offsets of fluxes where those have an end, in single precision: ``all``;
        ``thin``, every tenth draw, in the group ``posterior_images``; ``none``. Where samplers move in coordinates that
        an image does not tell, these are kept of the same draws, in the group ``image_coordinates``.

    Raises
    ------
    ConfigError
        If ``images`` is none of these.
    """
    if images not in ("all", "thin", "none"):
        raise ConfigError(f"images is {images!r}; it must be 'all', 'thin' or 'none'.")
    tree = to_arviz(draws)
    if isinstance(draws.density, Posterior):
        if images != "none":
            _keep_coordinates(tree, draws, THINNING if images == "thin" else 1)
        _thin_images(tree, draws, images)
        tree.attrs["scene"] = json.dumps(_scene_notes(draws.density))
    tree.attrs["settings"] = json.dumps(plain(draws.settings))
    with replacing(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf")


def load_draws(path: str | Path) -> xr.DataTree:
    """Read what `save_draws` wrote, into memory.

    Raises
    ------
    FileFormatError
        If the file is missing, or no complete netCDF file.
    """
    if not Path(path).is_file():
        raise FileFormatError(f"{path}: no such file; give a file written by save_draws.")
    try:
        return xr.load_datatree(path, engine="h5netcdf")
    except (OSError, ValueError, KeyError) as error:
        message = " ".join(str(error).split())
        raise FileFormatError(
            f"{path}: not a complete netCDF file ({message}); give a file written by save_draws."
        ) from None


def save_report(path: str | Path, report: dict[str, Any]) -> None:
    """Write a report as json; NaN becomes null."""
    text = json.dumps(plain(report), indent=2, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _keep_coordinates(tree: xr.DataTree, draws: Draws, every: int) -> None:
    """Put the coordinates of images that are not as many as their pixels into a group of a tree."""
    moved = {
        p.name: (("chain", "draw", f"{p.name}_number"), np.asarray(draws.position[p.name])[:, ::every])
        for p in draws.density.parameters
        if p.name.endswith(".image") and p.coordinate_shape != p.shape
    }
    if moved:
        tree["image_coordinates"] = xr.DataTree(xr.Dataset(moved))


def _thin_images(tree: xr.DataTree, draws: Draws, images: str) -> None:
    """Make the images of a tree single precision, and move some or none of them to a group of their own."""
    posterior = tree["posterior"].to_dataset()
    names = [name for name in named_leaves(draws.position) if posterior[name].ndim == 4]
    single = posterior[names].astype(np.float32)
    if images == "all":
        tree["posterior"] = xr.DataTree(posterior.assign(single))
        return
    pixels = {dim for name in names for dim in posterior[name].dims} - {"chain", "draw"}
    tree["posterior"] = xr.DataTree(posterior.drop_vars([*names, *pixels]))
    if images == "thin" and names:
        tree["posterior_images"] = xr.DataTree(single.isel(draw=slice(None, None, THINNING)))


def _scene_notes(posterior: Posterior) -> dict[str, Any]:
    """Return what a reader without the scene file has to know of it."""
    scene, observation = posterior.scene, posterior.observation
    sources = {
        source.name: {"object": source.object_name, "object_id": source.object_id} for source in scene.sources
    }
    return {
        "scene_id": observation.name,
        "bands": list(observation.frame.bands),
        "sources": sources,
        "noise_estimated": observation.noise_estimated,
        "wcs": observation.frame.wcs_header,
        "model": str(posterior),
    }
