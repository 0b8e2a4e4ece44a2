"""A prior on galaxy morphologies that is Gaussian in the logarithm of the light, for boxes of any shape."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.models.any_shape import AbstractAnyShapePrior
from scoresample.models.gaussian_image import GaussianImagePrior
from scoresample.models.gaussian_prior import GaussianMorphologyPrior
from scoresample.models.morphology import COORDINATE_SCALE, to_coordinate, to_morphology
from scoresample.models.priors import AbstractLogPrior
from scoresample.models.radial_tables import shipped_tables
from scoresample.numerics.linear import LowRankScale

DEFAULT_NOISE_LEVEL = 0.15  # in w: 1.5 % of the light


class LogGaussianImagePrior(AbstractLogPrior):
    r"""Images of one shape that are Gaussian in :math:`w = \log(S / s_0 + 1) / 0.1`.

    .. math:: \log p(u) = \log N(w(u); m, L L^T) + \sum_{pixels} \log\frac{dw}{du}, \qquad
              \frac{dw}{du} = \frac{S + 1}{S + s_0}

    a density of u where all :math:`S > -s_0`, and 0 elsewhere. Samplers move in w, on the whole real line, where
    it is the Gaussian.

    Parameters
    ----------
    gaussian
        Of w.
    softening
        :math:`s_0`.
    """

    gaussian: GaussianImagePrior
    softening: float = eqx.field(static=True)
    name: str = eqx.field(static=True, default="log-gaussian")

    @property
    def noise_level(self) -> float:
        """In w."""
        return self.gaussian.noise_level

    def for_shape(self, shape: tuple[int, ...]) -> "LogGaussianImagePrior":
        """Return itself, or raise ``ShapeError`` if it is for images of another shape."""
        self.gaussian.for_shape(shape)
        return self

    @property
    def has_map(self) -> bool:
        return True

    def to_unconstrained(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        """Return w of an image u; not finite where :math:`S \\le -s_0`."""
        return to_logarithm(value, self.softening)

    def to_constrained(self, position: Float[Array, "y x"]) -> tuple[Float[Array, "y x"], Float[Array, ""]]:
        """Return the image u of w, and the log-Jacobian."""
        return from_logarithm(position, self.softening)

    def of_coordinate(self) -> GaussianImagePrior:
        """Return the Gaussian of w."""
        return self.gaussian

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        """Return the normalized log density of one image u."""
        inside = jnp.all(to_morphology(value) > -self.softening)
        position = self.to_unconstrained(jnp.where(inside, value, jnp.zeros_like(value)))
        log_prob = self.gaussian.log_prob(position) - self.to_constrained(position)[1]
        return jnp.where(inside, log_prob, -jnp.inf)

    def unconstrained_log_prob(self, position: Float[Array, "y x"]) -> Float[Array, ""]:
        """Return the normalized log density of w."""
        return self.gaussian.log_prob(position)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n y x"]:
        """Return ``n`` independent images u."""
        return jax.vmap(lambda w: self.to_constrained(w)[0])(self.gaussian.sample(key, shape, n))

    def scale(self, shape: tuple[int, ...]) -> LowRankScale:
        """Return L, in w."""
        return self.gaussian.scale(shape)


class LogGaussianMorphologyPrior(AbstractAnyShapePrior):
    r"""Simulated galaxies to second order, in the logarithm of their light, for any box.

    A Gaussian in :math:`w = \log(S / s_0 + 1) / 0.1`, with the mean and covariance that simulated galaxies have there.
    Light is never below :math:`-s_0`, 0.01 of the peak, and faint wings scatter by factors, as those of galaxies of
    different size do. In u, which is linear for faint light, a Gaussian has wings below 0 as often as above.

    Parameters
    ----------
    gaussian
        Of w; its noise level is that of the prior, 10 times the relative error of the light.
    """

    gaussian: GaussianMorphologyPrior
    name: str = eqx.field(static=True, default="log-gaussian")

    @property
    def noise_level(self) -> float:
        """In w."""
        return self.gaussian.noise_level

    @property
    def has_map(self) -> bool:
        return True

    @property
    def least_box(self) -> int:
        return self.gaussian.least_box

    def for_shape(self, shape: tuple[int, int]) -> LogGaussianImagePrior:
        """Return the prior on images of one shape (y, x), ready for use; costs O(pixels rank^2), once.

        Raises
        ------
        ShapeError
            If the shape is not two positive numbers.
        """
        gaussian = self.gaussian.for_shape(shape)
        return LogGaussianImagePrior(gaussian, self.gaussian.tables.softening, self.name)

    def of_coordinate(self) -> GaussianMorphologyPrior:
        """Return the Gaussian of w."""
        return self.gaussian

    def to_unconstrained(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        """Return w of an image u."""
        return to_logarithm(value, self.gaussian.tables.softening)

    def to_constrained(self, position: Float[Array, "y x"]) -> tuple[Float[Array, "y x"], Float[Array, ""]]:
        """Return the image u of w, and the log-Jacobian."""
        return from_logarithm(position, self.gaussian.tables.softening)


def load_log_gaussian_prior(noise_level: float = DEFAULT_NOISE_LEVEL) -> LogGaussianMorphologyPrior:
    """Return the shipped prior."""
    return LogGaussianMorphologyPrior(GaussianMorphologyPrior(shipped_tables("log-gaussian"), noise_level))


def to_logarithm(u: Float[Array, "y x"], softening: float) -> Float[Array, "y x"]:
    """Return w of an image u."""
    return jnp.log1p(to_morphology(u) / softening) / COORDINATE_SCALE


def from_logarithm(w: Float[Array, "*s"], softening: float) -> tuple[Float[Array, "*s"], Float[Array, ""]]:
    """Return the image u of w, and the log-Jacobian."""
    morphology = softening * jnp.expm1(COORDINATE_SCALE * w)
    log_slope = jnp.log(softening) + COORDINATE_SCALE * w - jnp.log1p(morphology)
    return to_coordinate(morphology), jnp.sum(log_slope)
