"""Priors on fluxes and background, and whether they can be integrated out."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from scoresample.density.fluxes import FluxPosterior
from scoresample.density.parameters import Parameter
from scoresample.errors import ConfigError
from scoresample.models.priors_numpyro import DistributionPrior, FlatPrior, describe
from scoresample.models.scene import Scene


class FluxPrior(eqx.Module):
    """The prior of all linear amplitudes: fluxes of the sources, then the background.

    Attributes
    ----------
    mean, precision
        Of the Gaussian prior, (band, column); precision 0 where it is flat.
    flux, background
        The distributions, None where flat; used when fluxes are sampled rather than integrated out.
    names
        Of the sources; the columns in order.
    """

    mean: Float[Array, "band column"]
    precision: Float[Array, "band column"]
    flux: dist.Distribution | None
    background: dist.Distribution | None
    names: tuple[str, ...] = eqx.field(static=True)
    has_background: bool = eqx.field(static=True)
    has_components: bool = eqx.field(static=True)

    @property
    def is_flat(self) -> bool:
        """Whether fluxes are flat given the morphologies, so that amplitudes stand for them."""
        return self.flux is None

    @property
    def name(self) -> str:
        """Short description of the flux prior."""
        if self.flux is not None:
            return describe(self.flux)
        return "flat, components of one object within its flux" if self.has_components else "flat"

    @property
    def background_name(self) -> str:
        """Short description of the background prior."""
        return "flat" if self.background is None else describe(self.background)

    def parameters(self, errors: Float[Array, "band column"]) -> tuple[Parameter, ...]:
        """Return fluxes and background as free parameters, given about how well data know each of them."""
        num_bands = len(errors)
        found = []
        for index, name in enumerate(self.names):
            prior = _row(self.flux, index, len(self.names), num_bands, errors[:, index])
            found.append(Parameter(f"{name}.flux", prior, (num_bands,)))
        if self.has_background:
            prior = _row(self.background, 0, 1, num_bands, errors[:, -1])
            found.append(Parameter("background", prior, (num_bands,)))
        return tuple(found)

    def gather(self, values: dict[str, Array]) -> Float[Array, "band column"]:
        """Return the amplitudes held by named values."""
        rows = [values[f"{name}.flux"] for name in self.names]
        return jnp.stack([*rows, values["background"]] if self.has_background else rows, axis=1)

    def initial_values(self, solution: FluxPosterior) -> dict[str, Array]:
        """Return fluxes and background near the solution of the linear problem, inside their support."""
        mean, values = solution.mean, {}
        for index, name in enumerate(self.names):
            flux = mean[:, index]
            if self.flux is not None and not _is_gaussian(self.flux):
                flux = jnp.maximum(flux, solution.unit[:, index])
            values[f"{name}.flux"] = flux
        if self.has_background:
            values["background"] = mean[:, -1]
        return values


def make_flux_prior(
    scene: Scene,
    flux: dist.Distribution | None,
    background: dist.Distribution | None,
    collapse: bool | None,
) -> tuple[FluxPrior, bool]:
    """Return the flux prior of a scene, and whether fluxes are to be integrated out.

    Raises
    ------
    ConfigError
        If ``collapse`` is asked for under a prior that is neither flat nor Gaussian.
    """
    gaussian = _is_gaussian(flux) and _is_gaussian(background)
    if collapse and not gaussian:
        which = flux if not _is_gaussian(flux) else background
        raise ConfigError(
            f"fluxes can be integrated out only under flat or Normal priors, got {describe(which)}; "
            "pass collapse=False to sample them."
        )
    num_bands, names = len(scene.frame.bands), scene.names
    dtype = scene.flux.dtype
    rows = [_moments(flux if gaussian else None, (len(names), num_bands), dtype)]
    if flux is None:
        rows = [_component_moments(scene)]
    if scene.background is not None:
        rows.append(_moments(background if gaussian else None, (1, num_bands), dtype))
    mean, precision = (jnp.concatenate(part).T for part in zip(*rows, strict=True))
    prior = FluxPrior(
        mean=mean,
        precision=precision,
        flux=flux,
        background=background,
        names=names,
        has_background=scene.background is not None,
        has_components=len(scene.objects) < len(names),
    )
    return prior, gaussian if collapse is None else collapse


def _is_gaussian(distribution) -> bool:
    return distribution is None or isinstance(distribution, dist.Normal)


def _moments(distribution, shape, dtype):
    if distribution is None:
        return jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)
    mean = jnp.broadcast_to(jnp.asarray(distribution.loc, dtype), shape)
    return mean, jnp.broadcast_to(jnp.asarray(distribution.scale, dtype) ** -2, shape)


def _component_moments(scene):
    """Return the moments of flat-prior fluxes, weakly tied where an object has several components.

    Data constrain the sum of components far better than each: left alone, fluxes of a hundred times the
    object can cancel. A component's flux is its first guess, give or take 0.3 of the whole object.
    """
    membership = np.asarray(scene.membership)
    first = np.asarray(scene.flux)
    several = (np.bincount(membership) > 1)[membership][:, None]
    total = np.stack([np.abs(first)[membership == m].sum(axis=0) for m in membership])
    sums = np.array([float(source.morphology.total) for source in scene.sources])[:, None]
    mean = jnp.asarray(np.where(several, first / sums, 0), scene.flux.dtype)
    spread = np.maximum(0.3 * total / np.abs(sums), 1e-30)
    return mean, jnp.asarray(np.where(several, spread**-2.0, 0), scene.flux.dtype)


def _row(distribution, index, num_rows, num_bands, unit):
    """Return the prior of one source's spectrum out of a distribution over (source, band)."""
    if distribution is None:
        return FlatPrior(unit)
    return DistributionPrior(_take_row(distribution, index, (num_rows, num_bands)), describe(distribution))


_TRUNCATED = (
    dist.LeftTruncatedDistribution,
    dist.RightTruncatedDistribution,
    dist.TwoSidedTruncatedDistribution,
)


def _take_row(distribution, index, shape):
    """Return one row of a distribution that broadcasts to a shape of independent values.

    Made anew from the row's arguments: an expanded distribution has none of its own, and an indexed one would keep
    its old batch shape.
    """
    if isinstance(distribution, dist.ExpandedDistribution):
        return _take_row(distribution.base_dist, index, shape)
    names = distribution.arg_constraints
    arguments = {a: jnp.broadcast_to(jnp.asarray(getattr(distribution, a)), shape)[index] for a in names}
    if isinstance(distribution, _TRUNCATED):
        return type(distribution)(_take_row(distribution.base_dist, index, shape), **arguments)
    if not arguments:
        raise ConfigError(
            f"a {type(distribution).__name__} cannot be a prior on fluxes, as it has no arguments for each source; "
            "use a plain distribution such as dist.LogNormal."
        )
    return type(distribution)(**arguments)
