"""What galaxies in a box look like to second order: mean, leading modes, and what is left in each pixel."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from scoresample.models.radial_tables import RadialTables, in_pixels
from scoresample.numerics.threads import in_one_thread

STRIDE = 8
"""Boxes are padded to multiples of this: networks halve them three times."""

NUM_MODES = 64
_FINEST = 1e-2
"""Variances are measured down to this noise level, in u."""


class GalaxyBox(eqx.Module):
    r"""Mean and covariance of galaxies u in one box, somewhere in a larger square of zeros.

    .. math:: C = \sum_k \lambda_k V_k V_k^T + P\,\mathrm{diag}(v)\,P, \qquad P = 1 - \sum_k V_k V_k^T

    of which `energy` and `denoise` are the Gaussian ones to the order in which P and diag(v) commute.

    Attributes
    ----------
    mask
        1 in the box, 0 around it.
    mean
        Of u.
    modes
        V, orthonormal.
    variances
        :math:`\lambda` of the modes.
    rest
        v, what the modes leave of the variance of a pixel; positive.
    """

    mask: Float[Array, "y x"]
    mean: Float[Array, "y x"]
    modes: Float[Array, "mode y x"]
    variances: Float[Array, " mode"]
    rest: Float[Array, "y x"]

    def energy(self, u: Float[Array, "y x"], noise_level: Float[Array, ""]) -> Float[Array, ""]:
        r"""Return minus the log density, normalized, but for a constant.

        .. math:: \tfrac12\sum_k \Big[\frac{a_k^2}{\lambda_k + \sigma^2} + \log(\lambda_k + \sigma^2)\Big]
            + \tfrac12\sum_{pixels} \Big[\frac{b^2}{v + \sigma^2} + (1 - K/D)\log(v + \sigma^2)\Big]

        with :math:`a_k = V_k\cdot(u - m)` and :math:`b = P(u - m)` for K modes and D pixels.
        """
        along, across = self._split(u)
        variances, rest = self.variances + noise_level**2, self.rest + noise_level**2
        share = 1 - len(self.variances) / jnp.sum(self.mask)
        pixels = across**2 / rest + share * self.mask * jnp.log(rest)
        return 0.5 * jnp.sum(along**2 / variances + jnp.log(variances)) + 0.5 * jnp.sum(pixels)

    def whiten(self, u: Float[Array, "y x"], noise_level: Float[Array, ""]) -> Float[Array, "y x"]:
        r"""Return r(u), of unit variance for galaxies with noise: `energy` is about :math:`|r|^2/2` and a constant."""
        along, across = self._split(u)
        root = lambda variances: jnp.sqrt(variances + noise_level**2)
        return self._combine(along / root(self.variances)) + across / root(self.rest)

    def log_volume(self, noise_level: Float[Array, ""]) -> Float[Array, ""]:
        """Return the part of `energy` that does not depend on u."""
        return self.energy(self.mean, noise_level)

    def denoise(self, u: Float[Array, "y x"], noise_level: Float[Array, ""]) -> Float[Array, "y x"]:
        r"""Return :math:`u - \sigma^2 \nabla E`, about the best linear filter."""
        along, across = self._split(u)
        variance = noise_level**2
        across = self.rest / (self.rest + variance) * across
        along = self.variances / (self.variances + variance) * along - self._project(across)
        return self.mean + across + self._combine(along)

    def error(self, noise_level: Float[Array, ""]) -> Float[Array, ""]:
        """Return about the mean square error of `denoise` in a pixel."""
        left = lambda variances: variances * noise_level**2 / (variances + noise_level**2)
        return (jnp.sum(left(self.variances)) + jnp.sum(left(self.rest) * self.mask)) / jnp.sum(self.mask)

    def _split(self, u):
        x = (u - self.mean) * self.mask
        along = self._project(x)
        return along, x - self._combine(along)

    def _project(self, x):
        return self.modes.reshape(len(self.modes), -1) @ x.ravel()

    def _combine(self, along):
        return (along @ self.modes.reshape(len(self.modes), -1)).reshape(self.mask.shape)


@functools.lru_cache(maxsize=64)
@in_one_thread
def galaxy_box(
    tables: RadialTables, shape: tuple[int, int], padded: tuple[int, int] | None = None
) -> GalaxyBox:
    """Return the box of a shape, in the first corner of its padded shape; in single precision.

    Parameters
    ----------
    tables
        Mean and covariance of galaxies.
    shape
        (y, x).
    padded
        By default the sides are those of `padded_side`.
    """
    padded = padded or tuple(padded_side(n) for n in shape)
    pad = [(0, large - n) for large, n in zip(padded, shape, strict=True)]
    mean, factor, left = in_pixels(tables, shape, NUM_MODES, _FINEST)
    vectors, amplitudes, _ = np.linalg.svd(factor, full_matrices=False)
    # Always as many modes, so that boxes of one padded shape share compiled code.
    modes = np.zeros((NUM_MODES, *shape))
    modes[: len(amplitudes)] = vectors.T.reshape(len(amplitudes), *shape)
    variances = np.full(NUM_MODES, _FINEST**2)
    variances[: len(amplitudes)] += amplitudes**2
    arrays = (
        np.pad(np.ones(shape), pad),
        np.pad(mean, pad),
        np.pad(modes, [(0, 0), *pad]),
        variances,
        np.pad(np.maximum(left, _FINEST**2), pad, constant_values=1.0),
    )
    # Plain arrays even while jax traces a caller: boxes are kept for the next.
    with jax.ensure_compile_time_eval():
        return GalaxyBox(*(jnp.asarray(array, jnp.float32) for array in arrays))


def padded_side(side: int) -> int:
    """Return the least multiple of `STRIDE` that holds a side."""
    return -(-side // STRIDE) * STRIDE
