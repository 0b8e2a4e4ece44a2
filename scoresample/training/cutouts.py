"""A user's own galaxy images as a training set: a stack of cutouts in FITS or numpy files."""

import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from jaxtyping import Float

from scoresample.errors import DataError, FileFormatError, ScoresampleWarning, one_line
from scoresample.models.learned_prior import SIDES
from scoresample.models.morphology import COORDINATE_SCALE
from scoresample.training.dataset import TrainingSet, as_steps


def read_cutouts(*paths: str | Path) -> TrainingSet:
    r"""Return cutouts of single galaxies as a training set, scaled to a peak of 1 and in :math:`u = \log(S + 1) / 0.1`.

    Every cutout has its galaxy in the middle, no sky level and no neighbours, and is as sharp as the model grid: a
    prior learns what it is shown, noise and PSF included. Cutouts that are not square are cut to their shorter side,
    and all to 128 pixels at most.

    Parameters
    ----------
    paths
        ``.npz`` files with a key ``images`` (galaxy, y, x), ``.npy`` files of such an array, or FITS files with images
        or cubes in their extensions. Files may have cutouts of different sizes.

    Raises
    ------
    FileFormatError
        If a file cannot be read or has no images.
    DataError
        If cutouts are smaller than 16 pixels a side, not finite, or have no positive pixel in the middle.
    """
    if not paths:
        raise FileFormatError("there are no cutouts; give at least one file.")
    stacks: dict[int, list[np.ndarray]] = {}
    for path in map(Path, paths):
        for stack in _stacks(path):
            square = _square(stack, path.name)
            stacks.setdefault(square.shape[1], []).append(_normalized(square, path.name))
    images = {
        side: as_steps(np.log1p(np.concatenate(parts)) / COORDINATE_SCALE)
        for side, parts in sorted(stacks.items())
    }
    card = {
        "population": "cutouts",
        "files": [Path(path).name for path in paths],
        "counts": {side: len(stack) for side, stack in images.items()},
    }
    return TrainingSet(images, card)


def _stacks(path: Path) -> list[Float[np.ndarray, "galaxy y x"]]:
    """Return the images of a file, stacks of one size each."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                found = [archive["images"]]
        elif path.suffix == ".npy":
            found = [np.load(path, allow_pickle=False)]
        else:
            with fits.open(path) as hdus:
                found = [
                    np.asarray(hdu.data)
                    for hdu in hdus
                    if getattr(hdu, "data", None) is not None and hdu.is_image
                ]
    except KeyError:
        raise FileFormatError(
            f"{path.name} has no key 'images'; store the cutouts (galaxy, y, x) under it."
        ) from None
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise FileFormatError(
            f"{path.name} cannot be read ({one_line(error)[:80]}); needed .npz, .npy or FITS."
        ) from None
    found = [stack[None] if stack.ndim == 2 else stack for stack in found]
    bad = [
        stack.shape for stack in found if stack.ndim != 3 or 0 in stack.shape or stack.dtype.kind not in "fiu"
    ]
    if bad or not found:
        what = f"an array of shape {bad[0]}" if bad else "no image"
        raise FileFormatError(
            f"{path.name} has {what}; needed images (galaxy, y, x), or (y, x) for a single one."
        )
    return [stack.astype(np.float64) for stack in found]


def _square(stack: Float[np.ndarray, "galaxy y x"], source: str) -> Float[np.ndarray, "galaxy side side"]:
    """Return the middle of images, square and of at most `SIDES` pixels a side."""
    side = min(*stack.shape[1:], SIDES[1])
    if side < SIDES[0]:
        raise DataError(f"{source}: cutouts of {stack.shape[1:]} pixels; needed at least {SIDES[0]} a side.")
    # The middle stays the middle: of an even side an even number goes, of an odd one an odd number.
    side -= int(any((n - side) % 2 for n in stack.shape[1:]))
    begin = [(n - side) // 2 for n in stack.shape[1:]]
    return stack[:, begin[0] : begin[0] + side, begin[1] : begin[1] + side]


def _normalized(
    stack: Float[np.ndarray, "galaxy side side"], source: str
) -> Float[np.ndarray, "galaxy side side"]:
    """Return images with a peak of 1 in the middle; pixels below -0.9 of it are lifted, as u has no place for them."""
    if not np.isfinite(stack).all():
        number = int((~np.isfinite(stack).all(axis=(1, 2))).sum())
        raise DataError(
            f"{source}: {number} cutouts have pixels that are not finite; leave them out or fill them."
        )
    quarter = stack.shape[1] // 4
    peak = stack[:, quarter:-quarter, quarter:-quarter].max(axis=(1, 2))
    if not (peak > 0).all():
        raise DataError(
            f"{source}: {int((peak <= 0).sum())} cutouts have no light in the middle; leave them out, or center them."
        )
    scaled = stack / peak[:, None, None]
    brighter = int((scaled.max(axis=(1, 2)) > 1.5).sum())
    if brighter:
        warnings.warn(
            f"{source}: {brighter} of {len(stack)} cutouts are brightest near their edge; a neighbour in a cutout "
            "becomes part of the prior.",
            ScoresampleWarning,
            stacklevel=3,
        )
    return np.maximum(scaled, -0.9)
