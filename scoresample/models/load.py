"""Shipped priors by name."""

import hashlib
import importlib.resources

from scoresample.errors import ConfigError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.priors import AbstractLogPrior

_SHIPPED = {
    "galaxies": (load_gaussian_prior, "gaussian.npz"),
    "gaussian": (load_gaussian_prior, "gaussian.npz"),
}


def load_prior(name: str = "galaxies") -> AbstractLogPrior:
    """Return a shipped prior on galaxy morphologies.

    Parameters
    ----------
    name
        ``galaxies``, the best there is, at present the Gaussian one; or ``gaussian``.

    Raises
    ------
    ConfigError
        If there is no such prior.
    """
    return _shipped(name)[0]()


def prior_hash(name: str) -> str:
    """Return the sha256 of the numbers behind a shipped prior; raises as `load_prior` does."""
    resource = importlib.resources.files("scoresample.models") / "weights" / _shipped(name)[1]
    return hashlib.sha256(resource.read_bytes()).hexdigest()


def _shipped(name: str):
    if name not in _SHIPPED:
        raise ConfigError(f"there is no prior {name!r}; the shipped ones are {', '.join(sorted(_SHIPPED))}.")
    return _SHIPPED[name]
