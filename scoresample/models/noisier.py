"""A prior that knows several noise levels, at one that compiled code takes as an argument."""

import dataclasses
from typing import TYPE_CHECKING, Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.models.priors import AbstractLogPrior, AbstractPrior, Around
from scoresample.numerics.linear import LowRankScale

if TYPE_CHECKING:
    from scoresample.models.learned_prior import LearnedPrior
    from scoresample.models.score_prior import ScorePrior


class AbstractNoisier(AbstractPrior):
    """What both have: the score of a prior that has ``score_at``, at another level."""

    prior: eqx.AbstractVar[Any]
    level: eqx.AbstractVar[Float[Array, ""]]

    @property
    def name(self) -> str:
        return self.prior.name

    @property
    def noise_level(self) -> float:
        return float(self.level)

    def score(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        return self.prior.score_at(value, self.level)

    def for_shape(self, shape: tuple[int, ...]) -> "AbstractNoisier":
        self.prior.for_shape(shape)
        return self


class NoisierLogPrior(AbstractNoisier, AbstractLogPrior):
    """A prior with a density, at another noise level.

    Parameters
    ----------
    prior
        That has ``log_prob_at`` and ``score_at``.
    level
        The noise level.
    """

    prior: "LearnedPrior"
    level: Float[Array, ""]

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        return self.prior.log_prob_at(value, self.level)

    @property
    def hides_noise(self) -> bool:
        return self.prior.hides_noise

    def to_seen(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        return self.prior.to_seen_at(value, self.level)

    def around(self, value: Float[Array, "y x"]) -> Around | None:
        return self._as_fixed().around(value)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n y x"]:
        return self._as_fixed().sample(key, shape, n)

    def scale(self, shape: tuple[int, ...]) -> LowRankScale | None:
        return self._as_fixed().scale(shape)

    def _as_fixed(self) -> "LearnedPrior":
        return dataclasses.replace(self.prior, noise_level=self.noise_level)


class NoisierScore(AbstractNoisier):
    """A prior that has only a score, at another noise level.

    Parameters
    ----------
    prior
        That has ``score_at``.
    level
        The noise level.
    """

    prior: "ScorePrior"
    level: Float[Array, ""]
