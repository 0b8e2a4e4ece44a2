"""From a density of positions to the target of a kernel, in flat coordinates."""

import dataclasses
from typing import Any, TypeVar

import jax

from scoresample.density.base import AbstractDensity
from scoresample.errors import ConfigError, ScoreOnlyError
from scoresample.samplers.energies import SIMPSON, AbstractTarget, Quadrature, ValueTarget, WorkTarget
from scoresample.samplers.whitening import Whitening

Sampler = TypeVar("Sampler", bound=Any)
"""With a field ``energy``."""


def flat_target(
    density: AbstractDensity, whitening: Whitening, *, by_value: bool, rule: Quadrature | None = SIMPSON
) -> AbstractTarget:
    """Return a density in whitened coordinates.

    Parameters
    ----------
    density, whitening
        What is sampled, and in which coordinates.
    by_value
        Whether energies are values of the density. If not, they are the work of the score: of the terms that have no
        value, or of the whole density where all have one.
    rule
        How that work is integrated, see `WorkTarget`.
    """
    everything = density.has_log_prob

    def log_prob(z):
        position, log_volume = whitening.position_and_volume(z)
        return density.log_prob(position) + log_volume

    if by_value:
        return ValueTarget(log_prob)

    def explicit(z):
        position, log_volume = whitening.position_and_volume(z)
        return log_volume if everything else density.explicit(position) + log_volume

    def score(z):
        position, pull_back = jax.vjp(whitening.position, z)
        return pull_back(density.score(position) if everything else density.score_only(position))[0]

    return WorkTarget(explicit, score, rule)


def with_energy_decided(sampler: Sampler, density: AbstractDensity) -> Sampler:
    """Return a sampler whose ``energy`` is not ``auto``: ``log_prob`` where every term has a value."""
    if sampler.energy != "auto":
        return sampler
    return dataclasses.replace(sampler, energy="log_prob" if density.has_log_prob else "line_integral")


def check_energy(name: str, energy: str, energies: tuple[str, ...], density: AbstractDensity) -> None:
    """Raise an error if a sampler's ``energy`` is none of those it knows, or the density has no values for it."""
    if energy not in energies:
        raise ConfigError(f"{name}: energy is {energy!r}; it must be one of {', '.join(energies)}.")
    if energy == "log_prob" and not density.has_log_prob:
        raise ScoreOnlyError(
            f"{name} with energy='log_prob' compares log_prob between points, but term "
            f"{density.score_only_terms[0]!r} gives only a score. Use energy='line_integral', or a prior with a "
            "density, such as the default one."
        )
