"""What densities that are climbed in place of a posterior have in common with it."""

import dataclasses
from typing import TYPE_CHECKING

import equinox as eqx
from jaxtyping import Array, Float

from scoresample.density.base import AbstractDensity
from scoresample.density.local_scale import Block

if TYPE_CHECKING:
    from scoresample.density.posterior import Posterior

Position = dict[str, Float[Array, "..."]]


class AbstractClimbed(AbstractDensity):
    """A posterior with its integrated fluxes at given or best values; all but ``explicit`` is the posterior's."""

    posterior: eqx.AbstractVar["Posterior"]

    @property
    def score_only_terms(self) -> tuple[str, ...]:
        return self.posterior.score_only_terms

    def score_only(self, position: Position) -> Position:
        return self.posterior.score_only(position)

    def local_scale(self, position: Position) -> list[Block]:
        return self.posterior.local_scale(position)

    def for_compilation(self) -> AbstractDensity:
        return dataclasses.replace(self, posterior=self.posterior.for_compilation())
