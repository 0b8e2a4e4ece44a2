"""Read observations and catalogs from scene files of any known type."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from scoresample.data import checks
from scoresample.data.catalog import Catalog
from scoresample.data.detections import build_catalog
from scoresample.data.fits_reader import load_fits
from scoresample.data.frame import Frame
from scoresample.data.masks import bad_pixels
from scoresample.data.noise import estimate_variance
from scoresample.data.npz_reader import load_npz
from scoresample.data.observation import Observation, make_observation
from scoresample.data.rawscene import RawScene
from scoresample.data.units import flux_scale
from scoresample.errors import DataError, FileFormatError, ShapeError

LOADERS = {".npz": load_npz, ".fits.gz": load_fits, ".fits": load_fits, ".fit": load_fits}


def read_observation(
    path: str | Path,
    *,
    bad_planes: Sequence[str | int] | None = None,
    psf_bands: Sequence[str] | None = None,
    name: str | None = None,
) -> Observation:
    """Read the images, weights and PSFs of a scene file.

    Parameters
    ----------
    path
        ``.npz``, ``.fits``, ``.fits.gz`` or ``.fit``; DESIGN section 3 says what is in it.
    bad_planes
        Names or bit numbers of the mask planes that take pixels out; by default BAD, SAT, EDGE, NO_DATA.
    psf_bands
        The bands that the PSFs in the file belong to, in their order; by default the order of the images.
    name
        Scene id; by default the file name without its suffix.

    Returns
    -------
    Observation in nJy where the file has a zeropoint or a unit of flux density. Where it has neither weights
    nor variance, the noise is estimated from the images, with a `ScoresampleWarning` that gives the numbers.

    Raises
    ------
    FileFormatError
        A file that is missing, truncated, of unknown type, or lacks a field.
    ShapeError, DataError
        Content that cannot be used.
    """
    path, suffix = _known(path)
    with _naming(path.name):
        scene = LOADERS[suffix](path)
        stem = path.name[: -len(suffix)]
        return _build_observation(scene, bad_planes, psf_bands, stem if name is None else name)


def read_catalog(path: str | Path, *, frame: Frame | None = None) -> Catalog:
    """Read the detections of a scene file, or of a FITS file with a table only.

    Positions are columns x and y in pixels, counted from 0 at the center of the first pixel, or ra and dec with a
    WCS. Rows at the same position (within 1e-6 pixel) are components of one object and are merged, with a
    `ScoresampleWarning`. True fluxes are in the unit of `read_observation`.

    Parameters
    ----------
    path
        As for `read_observation`.
    frame
        Its WCS places a table of ra and dec when the file has no WCS.

    Raises
    ------
    FileFormatError, ShapeError, DataError
        As for `read_observation`; and a catalog without sources or without positions.
    """
    path, suffix = _known(path)
    with _naming(path.name):
        return build_catalog(LOADERS[suffix](path), frame)


def scene_suffix(path: Path) -> str:
    """Return the suffix that says the type of a scene file, or raise `FileFormatError`."""
    for suffix in LOADERS:
        if path.name.lower().endswith(suffix):
            return suffix
    raise FileFormatError(
        f"{path.name} has unknown file type {path.suffix or 'without suffix'!r}; needed one of {list(LOADERS)}."
    )


@contextmanager
def _naming(source: str) -> Generator[None, None, None]:
    """Put the file name before the message of an error that lacks it."""
    try:
        yield
    except (DataError, ShapeError) as error:
        if str(error).startswith(source):
            raise
        raise type(error)(f"{source}: {error}") from None


def _known(path: str | Path) -> tuple[Path, str]:
    """Return the path and its suffix when the file exists and its type is known."""
    path = Path(path)
    suffix = scene_suffix(path)
    if not path.is_file():
        raise FileFormatError(
            f"{path} {'is no file' if path.exists() else 'does not exist'}; check the path."
        )
    return path, suffix


def _build_observation(
    scene: RawScene,
    bad_planes: Sequence[str | int] | None,
    psf_bands: Sequence[str] | None,
    name: str,
) -> Observation:
    """Check the content of a file and make an observation of it."""
    images = checks.as_float(scene.need("images"), "images")
    psfs = checks.as_float(scene.need("psfs"), "psfs")
    bands = checks.check_bands(scene.need("bands"))
    checks.check_shapes(images, psfs, bands)
    if psf_bands is not None:
        if sorted(psf_bands) != sorted(bands):
            raise DataError(
                f"psf_bands is {', '.join(psf_bands)}; it must have each of {', '.join(bands)} once, in the order of "
                "the PSFs in the file."
            )
        psfs = psfs[[list(psf_bands).index(band) for band in bands]]
    used = np.ones(images.shape, bool)
    if scene.mask is not None:
        checks.check_same_shape("mask", scene.mask, images)
        used = ~bad_pixels(scene.mask, bands, bad_planes=bad_planes, planes=scene.mask_planes)
    estimated = scene.weights is None and scene.variance is None
    if scene.weights is not None:
        weights = checks.as_float(scene.weights, "weights")
        checks.check_same_shape("weights", weights, images)
        weights = np.where(used, weights, 0)
    else:
        if estimated:
            checks.check_pixels(images, used, bands)
            variance = estimate_variance(images, psfs, used, bands, source=scene.source)
        else:
            variance = checks.as_float(scene.variance, "variance")
            checks.check_same_shape("variance", variance, images)
            checks.check_variance(variance, used, bands)
        weights = np.zeros(images.shape)
        weights[used] = 1 / variance[used]
    scale, unit = flux_scale(bands, scene.zeropoint, scene.flux_unit)
    scale = scale[:, None, None]
    return make_observation(
        images * scale, weights / scale**2, psfs, bands,
        flux_unit=unit, wcs_header=scene.wcs, name=name, noise_estimated=estimated,
    )  # fmt: skip
