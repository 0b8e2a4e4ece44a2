"""Free parameters: from what a model calls them to unconstrained coordinates and back."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from scoresample.models.priors import AbstractLogPrior, AbstractPrior
from scoresample.numerics.linear import LowRankScale, identity_scale


class Parameter(eqx.Module):
    """One free parameter: its name, its prior, and the map that makes it unconstrained.

    Parameters
    ----------
    name
        Full name, such as ``galaxy_3.image``.
    prior
        Over the constrained value.
    shape
        Of the value; the unconstrained coordinate has the same under most priors.
    """

    name: str = eqx.field(static=True)
    prior: AbstractPrior
    shape: tuple[int, ...] = eqx.field(static=True)

    @property
    def has_log_prob(self) -> bool:
        """Whether the prior has a density."""
        return isinstance(self.prior, AbstractLogPrior)

    @property
    def coordinate_shape(self) -> tuple[int, ...]:
        """Of the unconstrained coordinate."""
        return self.prior.coordinate_shape(self.shape)

    def constrain(self, position: Float[Array, "..."]) -> Float[Array, "..."]:
        """Map the unconstrained coordinate to the value that a scene shows."""
        return self.prior.constrain(position)

    def unconstrain(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Map a value inside the prior's support to the unconstrained coordinate."""
        return self.prior.to_unconstrained(value)

    def slope(self, position: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the derivative of each element of the value by the coordinate's, for maps of elements."""
        return self.prior.slope(position)

    def log_prob(self, position: Float[Array, "..."]) -> Float[Array, ""]:
        """Return the prior's log density over the unconstrained coordinate, log-Jacobian included."""
        return self.prior.unconstrained_log_prob(position)

    def climbed_log_prob(self, position: Float[Array, "..."]) -> Float[Array, ""]:
        """Return the same for climbs to a MAP; see `AbstractLogPrior.climbed_log_prob`."""
        return self.prior.climbed_log_prob(position)

    def score(self, position: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the score of a prior that has nothing else; such priors live on the real line."""
        return self.prior.score(position)

    def scale(self) -> LowRankScale:
        """Return a square root of the prior covariance of the raveled coordinate."""
        scale = self.prior.scale(self.shape)
        return identity_scale(math.prod(self.coordinate_shape)) if scale is None else scale

    def scale_of_pixels(self) -> LowRankScale:
        """Return the same of the part of the coordinate that has one number for each of the value's."""
        scale = self.prior.of_coordinate().scale(self.shape)
        return identity_scale(math.prod(self.shape)) if scale is None else scale

    def at_noise_level(self, level: Float[Array, ""]) -> "Parameter":
        """Return this parameter with a noisier prior, as far as its prior knows one."""
        if self.prior.largest_noise_level <= self.prior.noise_level:
            return self
        level = jnp.clip(level, self.prior.noise_level, self.prior.largest_noise_level)
        return Parameter(self.name, self.prior.at_noise_level(level), self.shape)

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.shape)) or "scalar"
        kind = "log_prob" if self.has_log_prob else "score only"
        noise = f", noise_level {self.prior.noise_level:g}" if self.prior.noise_level else ""
        noise += " unseen" if self.prior.hides_noise else ""
        return f"{self.name}: {self.prior.name} ({shape}{noise}, {kind})"
