"""Where flat fluxes end: what makes cancelling fluxes of neighbours improbable."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from scoresample.density.fluxes import FluxPosterior, in_units_of_noise

SOFTNESS = 1.5
"""Over how much flat fluxes end, in units of their errors. A sharp end would be a wall to samplers, where fluxes of
neighbours are known by far less."""

NUM_REDRAWN = 4
"""How often offsets are drawn anew for the fluxes of a draw."""


class FluxEnd(eqx.Module):
    r"""A soft end of flat fluxes, in units t = A |M| of the error that each has by itself.

    .. math:: p(A | M) \propto |M|\, \Big[1 + \exp\Big(-\frac{t - s}{1.5}\Big)\Big]^{-1}

    It is logistic, as its slope is the same however far below s a flux is: fluxes of neighbours that become alike are
    free by hundreds of errors, and the squares of these would be a wall that samplers bounce off.

    With it fluxes cannot be integrated out. They are :math:`A = \hat A + G^{-1/2} q` instead (`FluxPosterior.at`), q
    independent standard normal but for the end, and independent of the morphologies.

    Attributes
    ----------
    least
        s, for example -2: then faint fluxes may be negative by their noise.
    limited
        Which amplitudes have an end: flat ones of sources that pixels know of.
    """

    least: float = eqx.field(static=True)
    limited: Bool[Array, "band column"]

    def lengths(
        self, columns: Float[Array, "column band pixel"], root_weight: Float[Array, "band pixel"]
    ) -> Float[Array, "band column"]:
        """Return |M|, one over the error that each amplitude has by itself; 1 for those without an end."""
        squares = jnp.sum(in_units_of_noise(columns, root_weight) ** 2, axis=2)
        return jnp.sqrt(jnp.where(self.limited[:, : len(columns)], squares, 1))

    def log_inside(self, signal_to_noise: Float[Array, "band column"]) -> Float[Array, " band"]:
        """Return the logarithm of what ends fluxes, of t, the sum over those of a band."""
        inside = jax.nn.log_sigmoid((signal_to_noise - self.least) / SOFTNESS)
        return jnp.sum(jnp.where(self.limited[:, : inside.shape[1]], inside, 0), axis=1)

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
            offsets, inside = state
            key_offsets, key_taken = jax.random.split(key)
            proposed = jax.random.normal(key_offsets, offsets.shape, offsets.dtype)
            inside_then = self.log_inside(solution.at(proposed) * lengths)
            taken = jnp.log(jax.random.uniform(key_taken, inside.shape)) < inside_then - inside
            return (jnp.where(taken[:, None], proposed, offsets), jnp.where(taken, inside_then, inside)), None

        first = offsets, self.log_inside(solution.at(offsets) * lengths)
        (offsets, _), _ = jax.lax.scan(step, first, jax.random.split(key, NUM_REDRAWN))
        return solution.at(offsets)
