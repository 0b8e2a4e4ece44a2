"""The scene that comes with the package."""

import importlib.resources
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from scoresample.data.catalog import Catalog
from scoresample.data.observation import Observation
from scoresample.data.readers import read_catalog, read_observation


@contextmanager
def demo_file() -> Generator[Path, None, None]:
    """Give the scene file, as long as the context lasts."""
    with importlib.resources.as_file(
        importlib.resources.files("scoresample") / "resources" / "demo_scene.npz"
    ) as path:
        yield path


def load_demo() -> tuple[Observation, Catalog]:
    """Return the shipped scene: a simulation of overlapping galaxies and a star in six LSST bands.

    Returns
    -------
    Observation and catalog; ``catalog.true_flux`` (source, band) is the truth, in nJy.
    """
    with demo_file() as path:
        return read_observation(path), read_catalog(path)
