"""Write scene files: complete under a temporary name first, so that an interruption leaves the old file."""

import gzip
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from scoresample.data.catalog import Catalog
from scoresample.data.frame import Frame
from scoresample.data.observation import Observation
from scoresample.data.readers import scene_suffix
from scoresample.errors import ShapeError
from scoresample.numerics.files import replacing


def write_scene(path: str | Path, observation: Observation, catalog: Catalog) -> None:
    """Write an observation and its catalog to a scene file that `read_observation` and `read_catalog` read.

    Parameters
    ----------
    path
        ``.npz``, ``.fits``, ``.fits.gz`` or ``.fit``. Replaced when it exists.
    observation
        Written in ``observation.frame.flux_unit``, with weights.
    catalog
        Sources, with the truth when it is known.

    Raises
    ------
    FileFormatError
        Unknown suffix.
    ShapeError
        True fluxes in other bands than the observation.
    """
    path = Path(path)
    if catalog.true_flux is not None and catalog.bands != observation.frame.bands:
        raise ShapeError(
            f"true_flux has bands {list(catalog.bands)} but the observation has {list(observation.frame.bands)}; "
            "make the catalog with the same bands."
        )
    suffix = scene_suffix(path)
    save = _save_npz if suffix == ".npz" else _save_fits
    with (
        replacing(path) as temporary,
        (gzip.open if suffix.endswith(".gz") else open)(temporary, "wb") as file,
    ):
        save(file, observation, catalog)


def _save_npz(file: BufferedIOBase, observation: Observation, catalog: Catalog) -> None:
    """Write a scene in the keys that `load_npz` reads."""
    frame = observation.frame
    arrays = {
        "images": np.asarray(observation.images),
        "weights": np.asarray(observation.inverse_variance),
        "psfs": np.asarray(observation.psfs),
        "bands": np.array(frame.bands),
        "flux_unit": np.array(frame.flux_unit),
        "centers": catalog.centers,
        "object_id": catalog.object_id,
        "is_star": catalog.is_star,
    }
    if frame.wcs_header is not None:
        arrays["wcs"] = np.array(frame.wcs_header)
    if catalog.true_flux is not None:
        arrays["true_flux"] = catalog.true_flux
    if catalog.table is not None:
        arrays["catalog"] = np.asarray(catalog.table.as_array())
    np.savez_compressed(file, allow_pickle=False, **arrays)


def _save_fits(file: BufferedIOBase, observation: Observation, catalog: Catalog) -> None:
    """Write a scene in the extensions that `load_fits` reads."""
    frame = observation.frame
    wcs = fits.Header() if frame.wcs_header is None else frame.wcs.to_header(relax=True)
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for b, band in enumerate(frame.bands):
        parts = {"IMAGE": observation.images, "WEIGHT": observation.inverse_variance, "PSF": observation.psfs}
        for kind, arrays in parts.items():
            header = fits.Header([("BAND", band)])
            if kind == "IMAGE":
                header.update(wcs)
                header["BUNIT"] = frame.flux_unit
            header["EXTNAME"] = f"{kind}_{band}"  # as a card: the name argument would make it upper case
            hdus.append(fits.ImageHDU(np.asarray(arrays[b]), header))
    hdus.append(fits.BinTableHDU(_table(catalog, frame), name="CATALOG"))
    hdus.writeto(file)


def _table(catalog: Catalog, frame: Frame) -> Table:
    """Return a catalog as a table that `load_fits` and other programs read."""
    table = Table({"object_id": catalog.object_id})
    table["y"], table["x"] = catalog.centers.T
    if frame.wcs_header is not None:
        sky = frame.to_sky(catalog.centers).icrs
        table["ra"], table["dec"] = sky.ra.deg, sky.dec.deg
    table["is_star"] = catalog.is_star
    if catalog.true_flux is not None:
        for band, flux in zip(catalog.bands, catalog.true_flux.T, strict=True):
            table[f"true_flux_{band}"] = flux
    for name in [] if catalog.table is None else catalog.table.colnames:
        if name not in table.colnames:
            table[name] = catalog.table[name]
    return table
