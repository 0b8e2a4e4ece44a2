"""A scene file made ready: what is observed, what is detected there, and the posterior to be sampled."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scoresample.data.catalog import Catalog
from scoresample.data.observation import Observation
from scoresample.data.readers import read_catalog, read_observation
from scoresample.density.posterior import Posterior
from scoresample.errors import ScoresampleError
from scoresample.models.initialization import initialize_scene
from scoresample.models.load import load_prior, prior_hash
from scoresample.models.priors import AbstractLogPrior
from scoresample.products.pipeline_files import sha256_of
from scoresample.products.pipeline_settings import RunSettings
from scoresample.samplers.annealed import AnnealedLangevin
from scoresample.samplers.hmc import HMC, MALA, NUTS
from scoresample.samplers.laplace import Laplace
from scoresample.samplers.unadjusted import ULA, UnderdampedLangevin

KERNELS = {
    "nuts": NUTS,
    "hmc": HMC,
    "mala": MALA,
    "laplace": Laplace,
    "ula": ULA,
    "underdamped": UnderdampedLangevin,
    "annealed": AnnealedLangevin,
}


class Problem(NamedTuple):
    """A scene file made ready.

    Attributes
    ----------
    provenance
        ``file``, its name; ``sha256`` of its content; ``prior``, with name, noise level and hash.
    catalog
        The detections, with the truth when it is known.
    posterior
        To be sampled.
    """

    provenance: dict[str, Any]
    catalog: Catalog
    posterior: Posterior

    @property
    def name(self) -> str:
        """The scene id."""
        return self.posterior.observation.name


def prepare(path: str | Path, settings: RunSettings) -> Problem:
    """Read a scene file and lay out its posterior; raises `ScoresampleError` for input that cannot be used."""
    observation, catalog = read_scene(path, settings)
    prior = prior_of(settings)
    try:
        scene = initialize_scene(observation, catalog, prior=prior, background=settings.background)
    except ScoresampleError as error:
        raise type(error)(f"{Path(path).name}: {error}") from None
    provenance = {
        "file": Path(path).name,
        "sha256": sha256_of(path),
        "prior": {"name": prior.name, "noise_level": prior.noise_level, "sha256": prior_hash(settings.prior)},
    }
    posterior = Posterior(scene, observation, image=prior, least_flux=settings.least_flux)
    KERNELS[settings.sampler]().check(posterior)  # before the climb, which may take minutes
    return Problem(provenance, catalog, posterior)


def read_scene(path: str | Path, settings: RunSettings) -> tuple[Observation, Catalog]:
    """Return the observation and the detections of a scene file, as settings say."""
    observation = read_observation(
        path, bad_planes=settings.bad_planes or None, psf_bands=settings.psf_bands or None
    )
    catalog = read_catalog(path, frame=observation.frame)
    if not settings.stars:
        catalog = dataclasses.replace(catalog, is_star=np.zeros(len(catalog), bool))
    return observation, catalog


def prior_of(settings: RunSettings) -> AbstractLogPrior:
    """Return the prior of galaxy images that settings ask for."""
    return load_prior(
        settings.prior, noise_level=settings.noise_level, hides_noise=settings.prior_noise == "hidden"
    )
