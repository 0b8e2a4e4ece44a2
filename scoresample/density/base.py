"""What a sampler sees: a density of a position."""

import abc
import hashlib
import re
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from scoresample.errors import ConfigError, ScoreOnlyError
from scoresample.numerics.bend import Bend
from scoresample.numerics.linear import DenseScale, LowRankScale, ProductScale

Position = PyTree[Float[Array, "..."]]
Scale = LowRankScale | DenseScale | ProductScale


class AbstractDensity(eqx.Module):
    """A density known by its value, by its score, or by both in parts.

    The log density is ``explicit(position)`` plus a part of which only the score is known; either may be
    missing. ``has_log_prob`` says that there is no score-only part.
    """

    @property
    @abc.abstractmethod
    def score_only_terms(self) -> tuple[str, ...]:
        """Names of the terms that have no value; empty when ``log_prob`` exists."""

    @abc.abstractmethod
    def explicit(self, position: Position) -> Float[Array, ""]:
        """Return the sum of the terms that have a value."""

    @abc.abstractmethod
    def score_only(self, position: Position) -> Position:
        """Return the summed score of the terms that have no value."""

    @property
    def has_log_prob(self) -> bool:
        """Whether every term has a value."""
        return not self.score_only_terms

    def log_prob(self, position: Position) -> Float[Array, ""]:
        """Return the log density up to a constant.

        Raises
        ------
        ScoreOnlyError
            If a term has only a score.
        """
        if not self.has_log_prob:
            raise ScoreOnlyError(
                f"log_prob was asked for, but term {self.score_only_terms[0]!r} gives only a score; "
                "use its score, or a prior with a density."
            )
        return self.explicit(position)

    def score(self, position: Position) -> Position:
        """Return the gradient of the log density; same tree as ``position``."""
        score = jax.grad(self.explicit)(position)
        return score if self.has_log_prob else jax.tree.map(jnp.add, score, self.score_only(position))

    def local_scale(self, position: Position) -> list[tuple[tuple[str, ...], Scale]] | None:
        """Return square roots of the covariance around a position, for groups of its entries, or None.

        Only for positions that are dictionaries. Samplers move in these coordinates; what they sample does
        not depend on them.
        """
        return None

    def bends(self, position: Position) -> tuple[Bend, ...]:
        """Return maps to positions from coordinates in which the density is less bent, one after another; mostly none.

        Around a position they change nothing to first order, so that `local_scale` is that of either. Samplers
        count the volume that they take.
        """
        return ()

    @property
    def noise_levels(self) -> tuple[float, float] | None:
        """The density's own noise level and the largest it can be asked for; None where it knows one only."""
        return None

    def at_noise_level(self, level: Float[Array, ""]) -> "AbstractDensity":
        """Return this density with at least so much noise in every prior that knows several levels.

        The level is an array that compiled code takes as an argument: all levels share what is compiled.

        Raises
        ------
        ConfigError
            If it knows one level only.
        """
        raise ConfigError("this density knows one noise level only; it cannot be had with more noise.")

    def derive(self, key: PRNGKeyArray, position: Position) -> dict[str, Array]:
        """Return quantities of interest that go with a position; draws keep them beside it."""
        return {}

    def initial_position(self) -> Position:
        """Return where to start when nothing better is known; plain densities have no such place."""
        raise ConfigError("this density has no start of its own; pass start, a position.")

    def check_position(self, position: Position) -> None:
        """Raise `PositionError` where a position does not fit; by default all fit."""
        return None

    def for_map(self, start: Position) -> "AbstractDensity":
        """Return the density whose maximum `find_map` looks for from a start; by default this one."""
        return self

    def easier(self) -> "AbstractDensity | None":
        """Return a density of the same positions whose maximum is a better start than `initial_position`, or None."""
        return None

    def formula(self, position: Position) -> str:
        """Return a text that tells this density from others with the same arrays; by default it has none."""
        return ""

    def for_compilation(self) -> "AbstractDensity":
        """Return this density without names and other notes that would make compiled code its own."""
        return self


class Density(AbstractDensity):
    """Any density at all, from plain functions of a position.

    Parameters
    ----------
    log_prob
        Maps a position to the explicit part of the log density, or None.
    score
        Maps a position to the score of the part that has no value, or None.
    """

    log_prob_fn: Callable | None = eqx.field(static=True)
    score_fn: Callable | None = eqx.field(static=True)

    def __init__(self, log_prob: Callable | None = None, score: Callable | None = None):
        if log_prob is None and score is None:
            raise ConfigError("Density needs log_prob, score, or both; got neither.")
        self.log_prob_fn = log_prob
        self.score_fn = score

    @property
    def score_only_terms(self) -> tuple[str, ...]:
        return () if self.score_fn is None else ("score",)

    def explicit(self, position: Position) -> Float[Array, ""]:
        if self.log_prob_fn is None:
            return jnp.zeros((), jnp.result_type(*jax.tree.leaves(position)))
        return self.log_prob_fn(position)

    def score_only(self, position: Position) -> Position:
        return jax.tree.map(jnp.zeros_like, position) if self.score_fn is None else self.score_fn(position)

    def formula(self, position: Position) -> str:
        functions = [function for function in (self.log_prob_fn, self.score_fn) if function is not None]
        return "".join(traced_formula(function, position) for function in functions)


def traced_formula(function: Callable, position: Position) -> str:
    """Return a hash of what a function of a position computes, with the arrays it holds."""
    traced = jax.make_jaxpr(function)(position)
    # Addresses of functions in the text differ from one process to the next.
    digest = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", str(traced.jaxpr)).encode())
    for constant in traced.consts:
        digest.update(np.ascontiguousarray(constant).tobytes())
    return digest.hexdigest()
