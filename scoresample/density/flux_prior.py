"""Priors on fluxes and background, and whether they can be integrated out."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Bool, Float

from scoresample.density.flux_end import FluxEnd
from scoresample.density.fluxes import FluxPosterior, in_units_of_noise, log_evidence, log_scale
from scoresample.density.likelihood import Likelihood, fit_fluxes
from scoresample.density.parameters import Parameter
from scoresample.errors import ConfigError
from scoresample.models.priors_numpyro import DistributionPrior, FlatPrior, describe
from scoresample.models.rendering import Renderer
from scoresample.models.scene import Scene
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.compiling import jit_to_run_once

TIE = 0.3
"""How far the share of a component may be from that of all bands together, as a part of its object."""


class FluxPrior(eqx.Module):
    r"""The prior of all linear amplitudes: fluxes of the sources, then the background.

    Without a distribution for them, fluxes are flat in units of their own errors: given the morphologies the density of
    the amplitude A of an image M in a band is

    .. math:: p(A | M) \propto |M|_w = \Big(\sum_p w_p M_p^2\Big)^{1/2}

    (the limit of Zellner's g-prior, sources one by one). It is the same whether A multiplies S or is a flux, and
    integrated out it leaves :math:`\max_A L` times what neighbours add to the error of A. A density flat in A itself
    leaves :math:`\max_A L / |M|_w`, which in B bands weighs images by about one over their radius to the power B, and
    one flat in the flux by the radius to the power B: either is a strong prior on sizes that nobody meant.

    Images of two galaxies that overlap may become alike, and their fluxes large, of opposite sign and next to unknown:
    integrated out, they leave a density that grows without bound. So flat fluxes may be given an end (`FluxEnd`).

    Attributes
    ----------
    mean, precision
        Of the Gaussian prior; precision 0 where it is flat. Amplitudes that are flat and that no pixel knows of are
        held by a unit Gaussian, which changes no other amplitude.
    scale_free
        Of which objects the flux is flat in units of its error: where fluxes are flat, and pixels know of it.
    share
        One over the number of its components for each source of an object, 0 for all other columns.
    ties
        The part of ``precision`` that ties components of one object.
    flux, background
        The distributions, None where flat; used when fluxes are sampled rather than integrated out.
    end
        Where flat fluxes end; None for nowhere, and always where they have a distribution.
    names
        Of the sources; the columns in order.
    """

    mean: Float[Array, "band column"]
    precision: Float[Array, "band column column"]
    ties: Float[Array, "band column column"]
    scale_free: Bool[Array, "band object"]
    share: Float[Array, "object column"]
    end: FluxEnd | None
    flux: dist.Distribution | None
    background: dist.Distribution | None
    names: tuple[str, ...] = eqx.field(static=True)
    has_background: bool = eqx.field(static=True)
    has_components: bool = eqx.field(static=True)

    @property
    def is_flat(self) -> bool:
        """Whether fluxes are flat given the morphologies, so that amplitudes of S stand for them."""
        return self.flux is None

    @property
    def name(self) -> str:
        """Short description of the flux prior."""
        if self.flux is not None:
            return describe(self.flux)
        flat = "flat in signal-to-noise" + ("" if self.end is None else f" above {self.end.least:g}")
        return f"{flat}, components of one object within its flux" if self.has_components else flat

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

    def log_tie(self, amplitudes: Float[Array, "band source"]) -> Float[Array, ""]:
        """Return the log density, up to a constant, that ties the components of objects; amplitudes multiply S."""
        ties = self.ties[:, : amplitudes.shape[1], : amplitudes.shape[1]]
        return -0.5 * jnp.einsum("bk,bkl,bl->", amplitudes, ties, amplitudes)

    def log_scale(
        self, columns: Float[Array, "column band pixel"], root_weight: Float[Array, "band pixel"]
    ) -> Float[Array, ""]:
        """Return the log density of amplitudes that are flat in units of their errors: the sum of log |M|.

        For an object of several components the root mean square of theirs.
        """
        return log_scale(in_units_of_noise(columns, root_weight), self.share, self.scale_free)

    def log_evidence(
        self,
        columns: Float[Array, "column band pixel"],
        data: Float[Array, "band pixel"],
        root_weight: Float[Array, "band pixel"],
    ) -> Float[Array, ""]:
        """Return the log-likelihood of data with the amplitudes of columns integrated out under this prior."""
        return log_evidence(
            columns, data, root_weight, self.mean, self.precision, self.share, self.scale_free
        )

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
    likelihood: Likelihood,
    flux: dist.Distribution | None,
    background: dist.Distribution | None,
    collapse: bool | None,
    least: float | None,
) -> tuple[FluxPrior, bool]:
    """Return the flux prior of a scene, and whether fluxes are to be integrated out.

    Raises
    ------
    ConfigError
        If ``collapse`` is asked for under a prior that is neither flat nor Gaussian, or fluxes end above 0.
    """
    if least is not None and not least <= 0:
        raise ConfigError(f"least_flux is {least:g}; it must be 0 or below, for example -2.")
    gaussian = _is_gaussian(flux) and _is_gaussian(background)
    if collapse and not gaussian:
        which = flux if not _is_gaussian(flux) else background
        raise ConfigError(
            f"fluxes can be integrated out only under flat or Normal priors, got {describe(which)}; "
            "pass collapse=False to sample them."
        )
    num_bands, names = len(scene.frame.bands), scene.names
    dtype = scene.sources[0].flux.dtype
    rows = [_moments(flux if gaussian else None, (len(names), num_bands))]
    if scene.background is not None:
        rows.append(_moments(background if gaussian else None, (1, num_bands)))
    mean, diagonal = (np.concatenate(part).T for part in zip(*rows, strict=True))
    ties = _ties(scene, likelihood) if flux is None else np.zeros((*mean.shape, mean.shape[1]))
    members = np.arange(len(scene.objects))[:, None] == np.asarray(scene.membership)
    seen = ~np.asarray(likelihood.unseen)[:, : len(names)]
    scale_free = (seen[:, None] & members).any(axis=2) & (flux is None)
    share = np.zeros((len(members), mean.shape[1]))
    share[:, : len(names)] = members / members.sum(axis=1, keepdims=True)
    held = np.where(diagonal == 0, _unknown(likelihood, ties), diagonal)
    end = None
    if least is not None and flux is None:
        limited = np.zeros(mean.shape, bool)
        limited[:, : len(names)] = seen
        end = FluxEnd(least, to_jax(limited))
    prior = FluxPrior(
        mean=to_jax(mean, dtype),
        precision=to_jax(ties + held[:, :, None] * np.eye(held.shape[1]), dtype),
        ties=to_jax(ties, dtype),
        scale_free=to_jax(scale_free),
        share=to_jax(share, dtype),
        end=end,
        flux=flux,
        background=background,
        names=names,
        has_background=scene.background is not None,
        has_components=len(scene.objects) < len(names),
    )
    return prior, gaussian if collapse is None else collapse


def _is_gaussian(distribution) -> bool:
    return distribution is None or isinstance(distribution, dist.Normal)


def _moments(distribution, shape):
    if distribution is None:
        return np.zeros(shape), np.zeros(shape)
    loc, scale = (np.asarray(a, float) for a in (distribution.loc, distribution.scale))
    return np.broadcast_to(loc, shape), np.broadcast_to(scale**-2, shape)


def _ties(scene: Scene, likelihood: Likelihood) -> Float[np.ndarray, "band column column"]:
    r"""Return the precision that ties the components of each object, and leaves the object's flux free.

    Data constrain the sum of components far better than each: left alone, fluxes of a hundred times the object can
    cancel. With F the flux of the object, each component's flux :math:`\phi_i` is normal around its share,

    .. math:: \phi_i = f_i F \pm \tau_b, \qquad F = \textstyle\sum_i \phi_i, \qquad
              \tau_b^2 = 0.3^2 \big(F_b^2 + (10\,\sigma_b)^2\big),

    where the shares f, one for all bands, the fluxes F_b and their errors are those of a fit with the first
    morphologies. The errors keep the prior wide where a band shows nothing. Nothing depends on first spectra.
    """
    membership = np.asarray(scene.membership)
    num_sources, num_columns = len(membership), likelihood.unseen.shape[1]
    ties = np.zeros((likelihood.unseen.shape[0], num_columns, num_columns))
    if len(scene.objects) == num_sources:
        return ties
    fitted = fit_fluxes(likelihood, scene.parameters)
    flux, error = (np.asarray(a, float)[:, :num_sources] for a in (fitted.mean, fitted.unit))
    sums = np.asarray(_totals(likelihood.renderer, scene.parameters), float)
    for index in range(len(scene.objects)):
        members = np.flatnonzero(membership == index)
        if members.size == 1:
            continue
        total, sigma = flux[:, members].sum(axis=1), error[:, members].min(axis=1)
        precision = 1 / sigma**2
        best = (precision * total) @ flux[:, members] / max(np.sum(precision * total**2), 1e-30)
        share = np.maximum(best, 0)
        share = share / share.sum() if share.sum() > 0 else np.full(members.size, 1 / members.size)
        # Rows: each component's flux less its share of the object's, from amplitudes of S.
        contrast = (np.eye(members.size) - share[:, None]) * sums[members]
        precision = (members.size - 1) / members.size / (TIE**2 * (total**2 + (10 * sigma) ** 2))
        ties[:, members[:, None], members] = precision[:, None, None] * (contrast.T @ contrast)
    return ties


@jit_to_run_once
def _totals(renderer: Renderer, values: dict[str, Array]) -> Float[Array, " source"]:
    return renderer.totals(values)


def _unknown(likelihood: Likelihood, ties: Float[np.ndarray, "band column column"]):
    """Return which flat amplitudes neither a pixel nor a tie to a seen one knows of, (band, column)."""
    tied = ties != 0
    seen = ~np.asarray(likelihood.unseen)
    return ~(seen | np.any(tied & seen[:, None, :], axis=2))


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
