"""Priors by name or file."""

import hashlib
import importlib.resources
from pathlib import Path

from scoresample.errors import ConfigError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.learned_prior import LearnedPrior
from scoresample.models.priors import AbstractLogPrior
from scoresample.models.weights_file import read_network

_SHIPPED = {
    "galaxies": (load_gaussian_prior, "gaussian.npz"),
    "gaussian": (load_gaussian_prior, "gaussian.npz"),
}


def load_prior(name: str | Path = "galaxies") -> AbstractLogPrior:
    """Return a prior on galaxy morphologies, shipped or of your own training.

    Parameters
    ----------
    name
        ``galaxies``, the best there is, at present the Gaussian one; ``gaussian``; or a file of weights that
        ``scoresample train`` wrote, ending in ``.npz``.

    Raises
    ------
    ConfigError
        If there is no such prior, or the file holds a network without a density.
    FileFormatError
        If the file holds no weights.
    """
    if _is_file(name):
        return LearnedPrior(network=read_network(name)[0], name=Path(name).stem)
    return _shipped(name)[0]()


def prior_hash(name: str | Path) -> str:
    """Return the sha256 of the numbers behind a prior; raises as `load_prior` does."""
    if _is_file(name):
        return hashlib.sha256(Path(name).read_bytes()).hexdigest()
    resource = importlib.resources.files("scoresample.models") / "weights" / _shipped(name)[1]
    return hashlib.sha256(resource.read_bytes()).hexdigest()


def _is_file(name: str | Path) -> bool:
    return Path(name).suffix == ".npz"


def _shipped(name: str):
    if name not in _SHIPPED:
        raise ConfigError(
            f"there is no prior {name!r}; the shipped ones are {', '.join(sorted(_SHIPPED))}, and a file of weights "
            "ends in .npz."
        )
    return _SHIPPED[name]
