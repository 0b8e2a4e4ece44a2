"""Training sets: galaxies of several box sizes in one file."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int16

from scoresample.errors import DataError, FileFormatError, one_line
from scoresample.numerics.files import replacing

STEPS_PER_UNIT = 2048
"""Images u are kept as whole numbers of this fraction, up to 16: rounding of 0.00014, far below any noise level."""


class TrainingSet(NamedTuple):
    """Galaxies by the side of their box, as images u, and where they come from.

    Attributes
    ----------
    images
        u times `STEPS_PER_UNIT`, by side.
    card
        Population, seed, counts and versions.
    """

    images: dict[int, Int16[np.ndarray, "galaxy side side"]]
    card: dict[str, Any]

    def coordinates(self, side: int, which=slice(None)) -> Float[np.ndarray, "galaxy side side"]:
        """Return images u of one box size."""
        return self.images[side][which].astype(np.float32) / STEPS_PER_UNIT


def as_steps(u: Float[np.ndarray, "*s"]) -> Int16[np.ndarray, "*s"]:
    """Return images u in the form that they are kept in."""
    limits = np.iinfo(np.int16)
    return np.clip(np.round(np.asarray(u) * STEPS_PER_UNIT), limits.min, limits.max).astype(np.int16)


def write_training_set(path: str | Path, training_set: TrainingSet) -> None:
    """Write a training set as ``.npz``, under a temporary name first."""
    arrays = {f"side_{side}": images for side, images in training_set.images.items()}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, card=np.frombuffer(json.dumps(training_set.card).encode(), np.uint8), **arrays)


def read_training_set(path: str | Path) -> TrainingSet:
    """Read what `write_training_set` wrote.

    Raises
    ------
    FileFormatError
        If the file is none of these, or is truncated.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            card = json.loads(archive["card"].tobytes())
            names = [name for name in archive.files if name.startswith("side_")]
            images = {int(name.removeprefix("side_")): archive[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            f"{path.name} cannot be read as a training set ({one_line(error)[:80]}); make one with "
            "'scoresample simulate', or read your own images with read_cutouts."
        ) from None
    return TrainingSet(check_images(images, path.name), card)


def check_images(
    images: Mapping[int, np.ndarray], source: str
) -> dict[int, Int16[np.ndarray, "galaxy side side"]]:
    """Return images by side, or raise `DataError` where they do not have it, or not the form they are kept in."""
    if not images:
        raise DataError(f"{source} has no images.")
    for side, stack in images.items():
        if stack.dtype != np.int16 or stack.ndim != 3 or stack.shape[1:] != (side, side):
            raise DataError(
                f"{source}: images of side {side} have shape {stack.shape} and type {stack.dtype}; needed "
                f"(galaxy, {side}, {side}) of int16."
            )
    return dict(images)
