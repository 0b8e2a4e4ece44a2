"""The Gaussian approximation at a maximum."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from scoresample.density.base import AbstractDensity
from scoresample.errors import DataError
from scoresample.numerics.compiling import quick_jit
from scoresample.numerics.curvature import hessian_vector
from scoresample.numerics.linear import LowRankScale
from scoresample.samplers.base import AbstractSampler
from scoresample.samplers.whitening import Whitening, add_curvature


class Laplace(AbstractSampler):
    r"""Independent draws from :math:`N(\theta_0, H^{-1})`, H the negative Hessian at the start.

    Exact for Gaussian posteriors; quick and rough for others. The start must be a maximum.

    Parameters
    ----------
    max_dense
        Up to this many coordinates the Hessian is formed in full; beyond, only its ``num_directions`` leading
        directions are known, and the prior stands for the rest.
    num_directions
        See ``max_dense``.
    """

    max_dense: int = eqx.field(static=True, default=1024)
    num_directions: int = eqx.field(static=True, default=400)

    def whiten(self, key: PRNGKeyArray, density: AbstractDensity, whitening: Whitening) -> Whitening:
        """Return the whitening in which the approximation is a standard normal.

        Raises
        ------
        DataError
            If the curvature at the start is not that of a maximum.
        """
        if whitening.size == 0:
            return whitening
        if whitening.size > self.max_dense:
            whitening, values = add_curvature(key, density, whitening, num_directions=self.num_directions)
            lowest = float(values[0])
        else:
            hessian = np.asarray(_negative_hessian(density, whitening), float)
            values, directions = np.linalg.eigh(0.5 * (hessian + hessian.T))
            lowest = float(values[0])
            dtype = whitening.rest.diagonal.dtype
            stretch = 1 / np.sqrt(np.maximum(values, 1e-30))
            data = LowRankScale(
                jnp.ones(whitening.size, dtype), jnp.asarray(directions, dtype), jnp.asarray(stretch, dtype)
            )
            whitening = eqx.tree_at(lambda w: w.rest, whitening, data)
        if not lowest > 0:
            raise DataError(
                f"Laplace needs a maximum to start from, but the curvature there has a value of {lowest:.3g}; "
                "run find_map first and pass its position as start."
            )
        return whitening


@quick_jit
def _negative_hessian(density: AbstractDensity, whitening: Whitening):
    z = jnp.zeros(whitening.size, whitening.rest.diagonal.dtype)

    def gradient(z):
        (position, log_volume), pull_back = jax.vjp(whitening.position_and_volume, z)
        return pull_back((density.score(position), jnp.ones_like(log_volume)))[0]

    return jax.lax.map(lambda v: -hessian_vector(gradient, z, v), jnp.eye(z.size, dtype=z.dtype))
