"""The Gaussian prior on galaxy morphologies, for boxes of any shape."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from scoresample.errors import ConfigError
from scoresample.models.any_shape import AbstractAnyShapePrior
from scoresample.models.gaussian_image import GaussianImagePrior, hold_center
from scoresample.models.radial_tables import RadialTables, in_pixels, shipped_tables
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.linear import scale_from_covariance
from scoresample.numerics.threads import in_one_thread

# Held-out galaxies in boxes of 40 pixels gain 21 nats from rank 64 to 96 and 8 more from 96 to 128; in boxes of
# 20 pixels 0.8 and 0.1. The cost of a score is proportional to it.
DEFAULT_RANK = 96
DEFAULT_NOISE_LEVEL = 0.14  # in u: 1.4 % of the peak, the diffusion time 0.02 of the paper


class GaussianMorphologyPrior(AbstractAnyShapePrior):
    r"""A Gaussian in u = log(S + 1) / 0.1 with the mean and covariance of simulated galaxies, for any box.

    .. math:: u \sim N(m, F F^T + \mathrm{diag}(v) + \sigma^2 I)

    with radially structured columns F (see :class:`RadialTables`), v the pixel variance that they leave, and sigma
    the ``noise_level``. The box side that sets the scale of an image of h by w pixels is
    :math:`\sqrt{(h^2 + w^2)/2}`, so that its corner is where the corner of a square box is. Under ``jax.jit``, the
    prior is a static argument: it is compared by identity, and its arrays become constants.

    Galaxies are not Gaussian in u. Held-out simulated galaxies have a chi^2 per pixel of 1.0 on average, 0.9 at the
    median and 2 to 4 at the 99th percentile, and one draw of the prior in ten has negative total light.

    Parameters
    ----------
    tables
        As read by :func:`read_tables`.
    noise_level
        sigma, in u.
    rank
        Largest number of columns of F.
    center_sigma
        How far, in u, the central pixel may be from its mean. It fixes the scale of S, which the flux would
        undo anyhow (see :func:`hold_center`). None leaves it as free as simulated galaxies have it.
    """

    tables: RadialTables = eqx.field(static=True)
    noise_level: float = eqx.field(static=True, default=DEFAULT_NOISE_LEVEL)
    rank: int = eqx.field(static=True, default=DEFAULT_RANK)
    center_sigma: float | None = eqx.field(static=True, default=0.1)
    name: str = eqx.field(static=True, default="gaussian")

    def __check_init__(self):
        if not self.noise_level > 0:
            raise ConfigError(f"noise_level is {self.noise_level}; it must be positive, for example 0.14.")
        if self.rank < 0:
            raise ConfigError(f"rank is {self.rank}; it must be 0 or more, for example {DEFAULT_RANK}.")
        if self.center_sigma is not None and not self.center_sigma > 0:
            raise ConfigError(f"center_sigma is {self.center_sigma}; it must be positive, or None.")

    @property
    def least_box(self) -> int:
        return int(self.tables.boxes[0])

    @in_one_thread
    def for_shape(self, shape: tuple[int, int]) -> GaussianImagePrior:
        """Return the prior on images of one shape (y, x), ready for use; costs O(pixels rank^2), once.

        Raises
        ------
        ShapeError
            If the shape is not two positive numbers.
        """
        mean, factor, left = in_pixels(self.tables, tuple(shape), self.rank, self.noise_level)
        # Plain arrays even while jax traces a caller: the prior is a constant of compiled code.
        with jax.ensure_compile_time_eval():
            mean_image = to_jax(mean)
            root = scale_from_covariance(factor, left.ravel() + self.noise_level**2)
            prior = GaussianImagePrior(mean_image, root, self.noise_level, self.name)
            return prior if self.center_sigma is None else hold_center(prior, self.center_sigma)

    def score(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        """Return the gradient of ``log_prob``, in closed form."""
        return self.for_shape(value.shape).score(value)


def load_gaussian_prior(noise_level: float = DEFAULT_NOISE_LEVEL) -> GaussianMorphologyPrior:
    """Return the shipped Gaussian prior."""
    return GaussianMorphologyPrior(shipped_tables("gaussian"), noise_level)
