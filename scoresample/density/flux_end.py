"""Where flat fluxes end: what makes cancelling fluxes of neighbours improbable."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from scoresample.density.fluxes import FluxPosterior, in_units_of_noise
from scoresample.density.likelihood import Likelihood
from scoresample.models.scene import Scene
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.compiling import jit_to_run_once

SOFTNESS = 1.5
"""Over how much flat fluxes end, in units of their errors. A sharp end would be a wall to samplers, where fluxes of
neighbours are known by far less."""

NARROWEST = 3.0
"""The least standard deviation of the Gaussians that stand for flat fluxes, in units of their errors."""

NUM_REDRAWN = 4
"""How often offsets are drawn anew for the fluxes of a draw."""


class FluxEnd(eqx.Module):
    r"""A soft end of flat fluxes, in units t = A |M| of the error that each has by itself.

    .. math:: p(A | M) \propto |M|\, \Big[1 + \exp\Big(-\frac{t - s}{1.5}\Big)\Big]^{-1}

    It is logistic, as its slope is the same however far below s a flux is: fluxes of neighbours that become alike are
    free by hundreds of errors, and the squares of these would be a wall that samplers bounce off.

    With it fluxes cannot be integrated out. They are :math:`A = \hat A + G^{-1/2} q` instead (`FluxPosterior.at`), with
    :math:`\hat A` and G of flat fluxes times Gaussians of 0 ± :math:`\rho` in t, so that no q moves a flux by more than
    about itself, whatever images do. Then

    .. math:: \log p(M, q) = \log p_\rho(Y | M) - \tfrac12 q^2 + \sum \Big[\tfrac12 (t / \rho)^2
              - \log\big(1 + e^{-(t - s) / 1.5}\big)\Big]

    which is exact for any :math:`\rho`, as long as nothing that is sampled changes it.

    Attributes
    ----------
    least
        s, for example -2: then faint fluxes may be negative by their noise, so that means over many are right.
    limited
        Which amplitudes have an end: flat ones of sources that pixels know of.
    reach
        :math:`\rho`: squared, nine and the mean square of t with the first morphologies.
    """

    least: float = eqx.field(static=True)
    limited: Bool[Array, "band column"]
    reach: Float[Array, "band column"]

    def lengths(
        self, columns: Float[Array, "column band pixel"], root_weight: Float[Array, "band pixel"]
    ) -> Float[Array, "band column"]:
        """Return |M|, one over the error that each amplitude has by itself; 0 for those without an end."""
        squares = jnp.sum(in_units_of_noise(columns, root_weight) ** 2, axis=2)
        return jnp.where(self.limited, jnp.sqrt(jnp.where(self.limited, squares, 1)), 0)

    def precision(self, lengths: Float[Array, "band column"]) -> Float[Array, "band column column"]:
        """Return that of the Gaussians that stand for flat fluxes."""
        return (lengths / self.reach)[:, :, None] ** 2 * jnp.eye(lengths.shape[1], dtype=lengths.dtype)

    def log_inside(self, signal_to_noise: Float[Array, "band column"]) -> Float[Array, " band"]:
        """Return the logarithm of what ends fluxes, of t, the sum over those of a band."""
        inside = jax.nn.log_sigmoid((signal_to_noise - self.least) / SOFTNESS)
        return jnp.sum(jnp.where(self.limited[:, : inside.shape[1]], inside, 0), axis=1)

    def log_ratio(self, signal_to_noise: Float[Array, "band column"]) -> Float[Array, " band"]:
        """Return the logarithm of the same over the Gaussians that stand for it."""
        return self.log_inside(signal_to_noise) + 0.5 * jnp.sum((signal_to_noise / self.reach) ** 2, axis=1)

    def redraw(
        self,
        key: PRNGKeyArray,
        solution: FluxPosterior,
        offsets: Float[Array, "band column"],
        lengths: Float[Array, "band column"],
    ) -> Float[Array, "band column"]:
        """Return amplitudes given the morphologies, from the offsets of a draw.

        Bands are independent given the morphologies. Offsets of each are proposed anew from the normal, and taken by
        Metropolis' rule: the distribution stays what it is, and next to nothing is left of what the draw before had.
        """

        def step(state, key):
            offsets, ratio = state
            key_offsets, key_taken = jax.random.split(key)
            proposed = jax.random.normal(key_offsets, offsets.shape, offsets.dtype)
            ratio_then = self.log_ratio(solution.at(proposed) * lengths)
            taken = jnp.log(jax.random.uniform(key_taken, ratio.shape)) < ratio_then - ratio
            return (jnp.where(taken[:, None], proposed, offsets), jnp.where(taken, ratio_then, ratio)), None

        first = offsets, self.log_ratio(solution.at(offsets) * lengths)
        (offsets, _), _ = jax.lax.scan(step, first, jax.random.split(key, NUM_REDRAWN))
        return solution.at(offsets)


def make_flux_end(
    scene: Scene,
    likelihood: Likelihood,
    least: float,
    limited: Bool[np.ndarray, "band column"],
    mean: Float[np.ndarray, "band column"],
    precision: Float[np.ndarray, "band column column"],
) -> FluxEnd:
    """Return the end of the ``limited`` amplitudes of a scene, given their Gaussian prior without one."""
    dtype = scene.sources[0].flux.dtype
    end = FluxEnd(least, to_jax(limited), to_jax(np.full(limited.shape, NARROWEST), dtype))
    squares = _squares(likelihood, scene.parameters, end, to_jax(mean, dtype), to_jax(precision, dtype))
    return eqx.tree_at(lambda e: e.reach, end, jnp.sqrt(NARROWEST**2 + squares))


@jit_to_run_once
def _squares(
    likelihood: Likelihood,
    values: dict[str, Array],
    end: FluxEnd,
    mean: Float[Array, "band column"],
    precision: Float[Array, "band column column"],
) -> Float[Array, "band column"]:
    """Return the mean square of t with these morphologies, where all that a flux could be is the light on its image."""
    columns = likelihood.columns(values, unit_flux=False)
    lengths = end.lengths(columns, likelihood.root_weight)
    light = jnp.einsum("kbp,bp->bk", columns, likelihood.data * likelihood.root_weight**2)
    most = NARROWEST + jnp.maximum(light / jnp.where(end.limited, lengths, 1), 0)
    held = (lengths / most)[:, :, None] ** 2 * jnp.eye(lengths.shape[1], dtype=lengths.dtype)
    solution = likelihood.solve(columns, mean, precision + held)
    variance = jnp.einsum("bkk->bk", solution.covariance())
    return (solution.mean**2 + variance) * lengths**2
