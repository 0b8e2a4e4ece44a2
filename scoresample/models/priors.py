"""What a prior is: a score, and for most a log density as well."""

import abc
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.errors import ConfigError
from scoresample.numerics.bend import Bend
from scoresample.numerics.linear import LowRankScale


class Around(NamedTuple):
    """How a prior, and what a scene shows of its value, change around a value.

    Attributes
    ----------
    directions
        Orthonormal columns over the raveled value.
    seen
        How much of a step along each a scene shows; of steps across all of them, nothing.
    precision
        Minus the curvature of the log density along each.
    precision_across
        The same, across all of them.
    """

    directions: Float[Array, "n k"]
    seen: Float[Array, " k"]
    precision: Float[Array, " k"]
    precision_across: float


class AbstractPrior(eqx.Module):
    """A prior known at least by its score. Never give such a thing a made-up ``log_prob``.

    Attributes
    ----------
    name
        Shown when a posterior is printed and stored with the draws.
    noise_level
        Standard deviation, in the coordinate of the prior, of the Gaussian blur that is part of the model.
    """

    name: eqx.AbstractVar[str]
    noise_level: eqx.AbstractVar[float]

    @abc.abstractmethod
    def score(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the gradient of the log density at ``value``."""

    @property
    def hides_noise(self) -> bool:
        """Whether a scene shows less than all of a value: not the noise that is part of the prior."""
        return False

    def to_seen(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return what a scene shows of a value: most priors, all of it."""
        return value

    @property
    def has_map(self) -> bool:
        """Whether samplers move in another coordinate than the value, on the whole real line."""
        return False

    @property
    def knows_sizes(self) -> bool:
        """Whether sizes of galaxies are parameters of the prior, so that boxes may be larger than those tell."""
        return False

    @property
    def least_box(self) -> int:
        """Smallest side, pixels, of the boxes of galaxies that the prior knows; 1 where it says nothing of that."""
        return 1

    def to_unconstrained(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Map a value inside the support to the coordinate of samplers: the most probable, where there are many."""
        return value

    def to_constrained(self, position: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, ""]]:
        """Map the coordinate of samplers to the value; also return the log-Jacobian of that map.

        That of `of_pixels`, given the rest, where the coordinate is another. Such a prior has an
        ``unconstrained_log_prob`` of its own.
        """
        return position, jnp.zeros((), position.dtype)

    def constrain(self, position: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return what a scene shows at a coordinate of samplers."""
        return self.to_seen(self.to_constrained(position)[0])

    @property
    def joins(self) -> Hashable:
        """What priors have in common that go into one call of `constrain_together`, and of `bend`."""
        return type(self)

    @classmethod
    def constrain_together(
        cls, priors: Sequence["AbstractPrior"], positions: Sequence[Float[Array, "_ ..."]]
    ) -> list[Float[Array, "_ ..."]]:
        """Return `constrain` of one or more coordinates of each of some priors that `joins` equals.

        Prior by prior, unless a class knows how to do it in one go.
        """
        return [jax.vmap(prior.constrain)(several) for prior, several in zip(priors, positions, strict=True)]

    def coordinate_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the samplers' coordinate of a value of one shape."""
        return tuple(shape)

    def of_coordinate(self) -> "AbstractPrior":
        """Return the prior of the samplers' coordinate, where curvatures are of use; itself where that is its own.

        Of `of_pixels`, given the rest, where the coordinate is another.
        """
        return self

    def of_pixels(self, position: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the numbers that the samplers' coordinate has for those of the value, one for each."""
        return position

    def pixels_by_coordinate(self, position: Float[Array, "..."]) -> Float[Array, "n k"] | None:
        """Return what each number of the coordinate does to these; None where it is one of them."""
        return None

    @property
    def has_bend(self) -> bool:
        """Whether there is a `bend`."""
        return False

    @classmethod
    def bend(
        cls,
        priors: Mapping[str, "AbstractPrior"],
        position: Mapping[str, Float[Array, "..."]],
        information: Mapping[str, Callable],
    ) -> Bend:
        """Return a map to the coordinates of samplers from some in which posteriors are less bent, around a position.

        Parameters
        ----------
        priors
            Of the entries to be mapped, by name; their `joins` is the same.
        position
            In the coordinates.
        information
            Map columns of changes of the pixels of an entry to what data know of them there.
        """
        raise NotImplementedError(f"{cls.__name__} has no such map.")

    def slope(self, position: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the derivative of each element of the value by its own in the coordinate."""
        value = lambda coordinate: self.to_constrained(coordinate)[0]
        return jax.jvp(value, (position,), (jnp.ones_like(position),))[1]

    def around(self, value: Float[Array, "..."]) -> Around | None:
        """Return how the prior looks around a value; None where a scene shows all of it, and `scale` says enough."""
        return None

    def for_shape(self, shape: tuple[int, ...]) -> "AbstractPrior":
        """Return the prior made ready for values of one shape; most are ready as they are."""
        return self

    def for_core(self) -> "AbstractPrior":
        """Return the prior of the second, small image of a bright galaxy; by default the same."""
        return self

    def scale(self, shape: tuple[int, ...]) -> LowRankScale | None:
        """Return a square root of the prior's covariance over the raveled value, for samplers to move along.

        None where it is not known. It changes how fast samplers are, never what they sample.
        """
        return None

    @property
    def largest_noise_level(self) -> float:
        """The largest noise level that `at_noise_level` can be asked for; most priors know their own alone."""
        return self.noise_level

    def at_noise_level(self, level: Float[Array, ""]) -> "AbstractPrior":
        """Return the prior with more noise, at a level that may be an argument of compiled code.

        Raises
        ------
        ConfigError
            If it knows one level only.
        """
        raise ConfigError(
            f"prior {self.name!r} knows one noise level only, {self.noise_level:g}; it cannot be had with more."
        )

    def precision_diagonal(self) -> Float[Array, "..."] | None:
        """Return the diagonal of minus the score's Jacobian where it is the same everywhere, else None."""
        return None


class AbstractLogPrior(AbstractPrior):
    """A prior with a density; its score is the exact gradient of ``log_prob``."""

    @abc.abstractmethod
    def log_prob(self, value: Float[Array, "..."]) -> Float[Array, ""]:
        """Return the log density at ``value``, up to a constant."""

    def unconstrained_log_prob(self, position: Float[Array, "..."]) -> Float[Array, ""]:
        """Return the log density over the coordinate of samplers, log-Jacobian included."""
        if not self.has_map:
            return self.log_prob(position)
        value, log_jacobian = self.to_constrained(position)
        return self.log_prob(value) + log_jacobian

    def climbed_log_prob(self, position: Float[Array, "..."]) -> Float[Array, ""]:
        """Return what climbs to a MAP take for ``unconstrained_log_prob``, where the maximum of that means nothing."""
        return self.unconstrained_log_prob(position)

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n ..."]:
        """Return ``n`` independent draws of the given shape."""

    def score(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the gradient of ``log_prob``."""
        return jax.grad(self.log_prob)(value)


def can_be_drawn(prior: AbstractPrior, shape: tuple[int, ...]) -> bool:
    """Return whether a prior has draws: not of a score alone, and not where ``sample`` is not implemented."""
    if not isinstance(prior, AbstractLogPrior):
        return False
    try:
        jax.eval_shape(lambda key: prior.sample(key, shape, 1), jax.random.key(0))
    except NotImplementedError:
        return False
    return True
