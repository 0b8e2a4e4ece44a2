"""A Gaussian density on images of one shape: values, draws and posteriors in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.errors import ShapeError
from scoresample.models.priors import AbstractLogPrior
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.linear import LowRankScale


class GaussianImagePrior(AbstractLogPrior):
    r"""A Gaussian on images u of one shape, :math:`u \sim N(m, L L^T)`.

    Parameters
    ----------
    mean
        m.
    root
        L, acting on the raveled image.
    noise_level
        Standard deviation of the white part that is contained in L.
    name
        Of the prior it comes from.
    """

    mean: Float[Array, "y x"]
    root: LowRankScale
    noise_level: float = eqx.field(static=True)
    name: str = eqx.field(static=True, default="gaussian")

    def for_shape(self, shape: tuple[int, ...]) -> "GaussianImagePrior":
        """Return itself, or raise ``ShapeError`` if it is for images of another shape."""
        if tuple(shape) != self.mean.shape:
            raise ShapeError(
                f"this Gaussian prior is for images of shape {self.mean.shape}, not {tuple(shape)}; make one with "
                f"load_gaussian_prior().for_shape({tuple(shape)})."
            )
        return self

    def scale(self, shape: tuple[int, ...]) -> LowRankScale:
        """Return L."""
        return self.for_shape(shape).root

    def whiten(self, u: Float[Array, "y x"]) -> Float[Array, "y x"]:
        r"""Return :math:`L^{-1}(u - m)`, standard normal when u is a draw."""
        return self.root.inverse((u - self.for_shape(u.shape).mean).ravel()).reshape(u.shape)

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        r"""Return :math:`-|L^{-1}(value - m)|^2/2 - \log|L| - (D/2)\log 2\pi`."""
        z = self.whiten(value)
        return -0.5 * jnp.sum(z**2) - self.root.log_det() - 0.5 * z.size * np.log(2 * np.pi)

    def score(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        r"""Return :math:`-L^{-T} L^{-1} (value - m)`."""
        return -self.root.inverse_transpose(self.whiten(value).ravel()).reshape(value.shape)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n y x"]:
        """Return ``n`` independent images; ``shape`` is that of the prior."""
        z = jax.random.normal(key, (n, self.root.size), self.mean.dtype)
        return self.for_shape(shape).mean + jax.vmap(self.root.apply)(z).reshape(n, *shape)

    def precision_diagonal(self) -> Float[Array, "y x"]:
        r"""Return the diagonal of :math:`(L L^T)^{-1}`, exact: :math:`(1 + \sum_k Q_{ik}^2 (s_k^{-2} - 1)) / D_i^2`."""
        scale = self.root
        inner = 1 + scale.directions**2 @ (1 / scale.stretch**2 - 1)
        return (inner / scale.diagonal**2).reshape(self.mean.shape)

    def covariance(self) -> Float[np.ndarray, "d d"]:
        """Return the dense covariance of the raveled image, in float64; for small boxes."""
        d, q, s = (
            np.asarray(a, float) for a in (self.root.diagonal, self.root.directions, self.root.stretch)
        )
        return d[:, None] * (np.eye(d.size) + (q * (s**2 - 1)) @ q.T) * d

    def posterior(
        self,
        design: Float[np.ndarray, "n d"],
        data: Float[np.ndarray, " n"],
        inverse_variance: Float[np.ndarray, " n"],
    ) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
        r"""Return mean and covariance of the raveled u given linear observations of it; dense, for small boxes.

        .. math:: y = A u + n,\; n \sim N(0, W^{-1}):\quad
            V = (\Sigma^{-1} + A^T W A)^{-1},\quad \mu = m + V A^T W (y - A m)

        Computed in float64 as :math:`V = L (I + L^T A^T W A L)^{-1} L^T`, which never inverts :math:`\Sigma`.

        Raises
        ------
        ShapeError
            If design, data and inverse variance do not fit each other or the image.
        """
        design, data, weight = (np.asarray(a, float) for a in (design, data, inverse_variance))
        mean = np.asarray(self.mean, float).ravel()
        if design.shape != (data.size, mean.size) or weight.shape != data.shape:
            raise ShapeError(
                f"design {design.shape}, data {data.shape} and inverse_variance {weight.shape} must be (n, d), (n,) "
                f"and (n,), with d = {mean.size} pixels of the image."
            )
        d, q, s = (
            np.asarray(a, float) for a in (self.root.diagonal, self.root.directions, self.root.stretch)
        )
        root = d[:, None] * (np.eye(d.size) + (q * (s - 1)) @ q.T)
        seen = np.sqrt(weight)[:, None] * (design @ root)
        covariance = root @ np.linalg.solve(np.eye(d.size) + seen.T @ seen, root.T)
        return mean + covariance @ design.T @ (weight * (data - design @ mean)), covariance


def hold_center(prior: GaussianImagePrior, sigma: float) -> GaussianImagePrior:
    r"""Return the prior given that the central pixel lies within ``sigma`` of its mean.

    A morphology has a free scale: the flux takes it up. Left to a broad Gaussian, the scale can shrink until
    S is all noise around zero and its sum, which the flux is divided by, vanishes. With c the unit vector of
    the central pixel (the mean of the central two or four for even sides), this is the exact conditional

    .. math:: \Sigma' = \Sigma - \Sigma c\, (c^T \Sigma c + \sigma^2)^{-1}\, c^T \Sigma

    which is again low rank plus the same diagonal.
    """
    d, q, s = (np.asarray(a, float) for a in (prior.root.diagonal, prior.root.directions, prior.root.stretch))
    c = d * middle_of(prior.mean.shape)
    image = c + (q * (s**2 - 1)) @ (q.T @ c)  # D^-1 Sigma c
    basis, _ = np.linalg.qr(np.concatenate([q, c[:, None], image[:, None]], axis=1))
    inner = (basis.T @ q * (s**2 - 1)) @ (q.T @ basis)
    inner -= np.outer(basis.T @ image, image @ basis) / (c @ image + sigma**2)
    values, rotation = np.linalg.eigh(inner)
    dtype = prior.mean.dtype
    root = LowRankScale(
        prior.root.diagonal, to_jax(basis @ rotation, dtype), to_jax(np.sqrt(1 + values), dtype)
    )
    return GaussianImagePrior(prior.mean, root, prior.noise_level, prior.name)


def middle_of(shape: tuple[int, int]) -> Float[np.ndarray, " pixel"]:
    """Return what a raveled image is weighted with for its central pixel, or the mean of two or four of them."""
    middle = np.zeros(shape)
    middle[tuple(slice((n - 1) // 2, n // 2 + 1) for n in shape)] = 1
    return (middle / middle.sum()).ravel()
