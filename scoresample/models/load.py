"""Priors by name or file."""

import hashlib
import importlib.resources
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scoresample.errors import ConfigError
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.learned_prior import DEFAULT_NOISE_LEVEL, LearnedPrior
from scoresample.models.log_gaussian_prior import load_log_gaussian_prior
from scoresample.models.priors import AbstractLogPrior
from scoresample.models.profile_prior import load_profile_prior
from scoresample.models.radial_tables import read_tables_card
from scoresample.models.weights_file import read_network

_SHIPPED = {
    "galaxies": "galaxies.npz",
    "gaussian": "gaussian.npz",
    "log-gaussian": "log-gaussian.npz",
    "profile": "profile.npz",
    "ztf-like": "ztf-like.npz",
}
_OF_TABLES = {
    "gaussian": load_gaussian_prior,
    "log-gaussian": load_log_gaussian_prior,
    "profile": load_profile_prior,
}
"""What makes the priors without a network."""


def load_prior(
    name: str | Path = "galaxies", *, noise_level: float | None = None, hides_noise: bool = True
) -> AbstractLogPrior:
    """Return a prior on galaxy morphologies, shipped or of your own training.

    Parameters
    ----------
    name
        ``profile``, which runs use unless told otherwise: smooth profiles of unknown size, and how simulated galaxies
        scatter about them; ``log-gaussian``, quicker, and ``gaussian``, which know mean and covariance of galaxies;
        ``galaxies``, a network that learned more of them; ``ztf-like``, which knows Sersic indices 1 and 4 only, for
        tests with a wrong prior; or a file of weights that ``scoresample train`` wrote, ending in ``.npz``.
    noise_level
        Standard deviation, in u, of the blur that is part of the prior; see `LearnedPrior`. By default 0.3, 0.14
        for the Gaussian, and 0.15, of the logarithm, for ``profile`` and ``log-gaussian``.
    hides_noise
        Whether scenes show galaxies without that noise; see `LearnedPrior`. The Gaussians' is part of their images.

    Raises
    ------
    ConfigError
        If there is no such prior, the file holds a network without a density, or the noise level is out of range.
    FileFormatError
        If the file holds no weights.
    """
    if str(name) in _OF_TABLES:
        make = _OF_TABLES[str(name)]
        return make() if noise_level is None else make(noise_level)
    with _file_of(name) as path:
        found = read_network(path)
    level = DEFAULT_NOISE_LEVEL if noise_level is None else noise_level
    return LearnedPrior(found.network, found.tables, level, Path(name).stem, hides_noise)


def prior_card(name: str | Path) -> dict[str, Any]:
    """Return what is noted with the weights of a prior: data, recipe, versions; raises as `load_prior` does."""
    with _file_of(name) as path:
        return read_tables_card(path) if str(name) in _OF_TABLES else read_network(path).card


def prior_hash(name: str | Path) -> str:
    """Return the sha256 of the numbers behind a prior; raises as `load_prior` does."""
    with _file_of(name) as path:
        return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _file_of(name: str | Path) -> Generator[Path, None, None]:
    """Give the file of a prior: a user's own, or a shipped one."""
    if Path(name).suffix == ".npz":
        yield Path(name)
        return
    if name not in _SHIPPED:
        raise ConfigError(
            f"there is no prior {str(name)!r}; the shipped ones are {', '.join(sorted(_SHIPPED))}, and a file of "
            "weights ends in .npz."
        )
    resource = importlib.resources.files("scoresample.models") / "weights" / _SHIPPED[str(name)]
    with importlib.resources.as_file(resource) as path:
        yield path
