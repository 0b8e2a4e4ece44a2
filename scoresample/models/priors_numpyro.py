"""Priors on fluxes, centers and shape parameters: numpyro distributions."""

from collections.abc import Callable, Iterable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.models.priors import AbstractLogPrior
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.linear import LowRankScale


class DistributionPrior(AbstractLogPrior):
    """A numpyro distribution as a prior; every element of the value is drawn from it independently.

    Parameters
    ----------
    distribution
        Its batch shape broadcasts against the value.
    """

    distribution: dist.Distribution
    name: str = eqx.field(static=True)
    noise_level: float = eqx.field(static=True, default=0.0)

    def log_prob(self, value: Float[Array, "..."]) -> Float[Array, ""]:
        return jnp.sum(self.distribution.log_prob(value))

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n ..."]:
        full = self.distribution.expand(jnp.broadcast_shapes(shape, self.distribution.batch_shape))
        return full.sample(key, (n,))

    @property
    def has_map(self) -> bool:
        return True

    def to_unconstrained(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Map a value inside the support to the whole real line."""
        return dist.transforms.biject_to(self.distribution.support).inv(value)

    def to_constrained(self, position: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, ""]]:
        """Map the real line into the support; also return the log-Jacobian of that map."""
        bijector = dist.transforms.biject_to(self.distribution.support)
        value = bijector(position)
        return value, jnp.sum(bijector.log_abs_det_jacobian(position, value))

    def scale(self, shape: tuple[int, ...]) -> LowRankScale:
        """Return the standard deviations of the unconstrained value: known, or of 1,000 draws with a fixed key."""
        if isinstance(self.distribution, dist.Normal):
            spread = jnp.broadcast_to(to_jax(self.distribution.scale, jnp.result_type(float)), shape).ravel()
        else:
            draws = self.to_unconstrained(self.sample(jax.random.key(0), shape, 1000))
            spread = jnp.std(draws, axis=0).ravel()
        return LowRankScale(spread, jnp.zeros((spread.size, 0)), jnp.ones(0))


class FlatPrior(AbstractLogPrior):
    """The improper uniform density on the whole real line. It cannot be drawn from.

    Parameters
    ----------
    unit
        A natural step of the value, such as its error bar; sets the pace of samplers, not the density.
    """

    unit: Float[Array, "..."]
    name: str = eqx.field(static=True, default="flat")
    noise_level: float = eqx.field(static=True, default=0.0)

    def log_prob(self, value: Float[Array, "..."]) -> Float[Array, ""]:
        return jnp.zeros((), value.dtype)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n ..."]:
        raise NotImplementedError("a flat prior has no draws; give a proper distribution to simulate from.")

    def scale(self, shape: tuple[int, ...]) -> LowRankScale:
        spread = jnp.broadcast_to(self.unit, shape).ravel()
        return LowRankScale(spread, jnp.zeros((spread.size, 0)), jnp.ones(0))


def describe(distribution: dist.Distribution) -> str:
    """Return a short name such as ``Normal(0, 0.3)``."""
    numbers = [jnp.ravel(jnp.asarray(getattr(distribution, a))) for a in distribution.arg_constraints]
    shown = ", ".join(f"{float(n[0]):.4g}" if n.size == 1 else "..." for n in numbers)
    return f"{type(distribution).__name__}({shown})"


def as_prior(prior: AbstractLogPrior | dist.Distribution, around=None) -> AbstractLogPrior:
    """Return a prior as a prior, and a numpyro distribution wrapped as one.

    Parameters
    ----------
    prior
        Either kind.
    around
        For distributions of a displacement: the point it is measured from.
    """
    if not isinstance(prior, dist.Distribution):
        return prior
    name = describe(prior)
    if around is not None:
        # The domain carries the bounds along: without it numpyro takes the support for the whole line.
        move = dist.transforms.AffineTransform(jnp.asarray(around), 1.0, domain=prior.support)
        prior = dist.TransformedDistribution(prior.expand(jnp.shape(around)), move)
        name += " around the detection"
    return DistributionPrior(prior, name)


_DEFAULT_SHAPES: dict[str, Callable[[], dist.Distribution]] = {
    "center": lambda: dist.Normal(0.0, 0.3),
    "half_light_radius": lambda: dist.LogNormal(np.log(2.5), 0.6),
    "sigma": lambda: dist.LogNormal(np.log(2.0), 0.6),
    "sersic_index": lambda: dist.Uniform(0.5, 6.0),
    "ellipticity": lambda: dist.TruncatedNormal(0.0, 0.3, low=-0.7, high=0.7),
}


def default_shape_priors(kinds: Iterable[str] = tuple(_DEFAULT_SHAPES)) -> dict[str, dist.Distribution]:
    """Return the priors of parameters that the user gave none for, by parameter name; of those among ``kinds``.

    Centers are displacements from the detection in pixels. Radii are log-normal around 2.5 pixels: the
    half-light radii of faint galaxies, 0.3-0.6 arcsec, on pixels of 0.2 arcsec. Ellipticity components stay
    within 0.7, which keeps the axis ratio above zero.
    """
    return {kind: _DEFAULT_SHAPES[kind]() for kind in kinds if kind in _DEFAULT_SHAPES}
