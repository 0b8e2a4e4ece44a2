"""The prior of profiles and of scatter about them, for boxes of any shape."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from scoresample.errors import ConfigError
from scoresample.models.any_shape import AbstractAnyShapePrior
from scoresample.models.gaussian_image import GaussianImagePrior, middle_of
from scoresample.models.log_gaussian_prior import LogGaussianMorphologyPrior, load_log_gaussian_prior
from scoresample.models.profile_image import ProfileImagePrior
from scoresample.models.radial_tables import RadialTables, in_pixels, shipped_tables
from scoresample.numerics.arrays import to_jax
from scoresample.numerics.linear import scale_from_covariance
from scoresample.numerics.threads import in_one_thread

DEFAULT_NOISE_LEVEL = 0.15  # in w, relative to the amplitude of the scatter

NUM_PATTERNS = 192
"""Most of the scatter's patterns. They leave 0.3 % of its variance in boxes of 17 pixels, 1.3 % in those of 31 and
4.8 % in those of 63; 96 leave 1.9, 5.9 and 13.6 %."""

CENTER_SIGMA = 0.1
"""How far, in delta, the middle may be from its mean: it fixes the scale of S, which the flux would undo anyhow."""


class ProfileMorphologyPrior(AbstractAnyShapePrior):
    """A smooth profile of unknown size, shape and center, and the scatter of simulated galaxies about it.

    For any box; see `ProfileImagePrior` for the formula. Only what `for_shape` returns has the map to the coordinate of
    samplers. The size of a galaxy is a parameter of its own here: what is not known of it counts in the errors of
    fluxes, and the box does not tell it.

    Parameters
    ----------
    tables
        Of the scatter, and of what galaxies have beyond their profile on average.
    noise_level
        Of images of which there is a density, in w relative to the amplitude: 10 times the relative error of the light.
    num_patterns
        Most patterns of the scatter.
    """

    tables: RadialTables = eqx.field(static=True)
    noise_level: float = eqx.field(static=True, default=DEFAULT_NOISE_LEVEL)
    num_patterns: int = eqx.field(static=True, default=NUM_PATTERNS)
    name: str = eqx.field(static=True, default="profile")

    def __check_init__(self):
        if not self.noise_level > 0 or self.num_patterns < 1:
            raise ConfigError(
                f"noise_level is {self.noise_level} and num_patterns {self.num_patterns}; they must be positive, for "
                f"example {DEFAULT_NOISE_LEVEL} and {NUM_PATTERNS}."
            )

    @property
    def has_map(self) -> bool:
        return True

    @property
    def knows_sizes(self) -> bool:
        return True

    @property
    def least_box(self) -> int:
        return int(self.tables.boxes[0])

    def for_core(self) -> LogGaussianMorphologyPrior:
        """Return `log-gaussian`, to which the box is the size: two images of any size in one place change roles."""
        return load_log_gaussian_prior(self.noise_level)

    @in_one_thread
    def for_shape(self, shape: tuple[int, int]) -> ProfileImagePrior:
        """Return the prior on images of one shape (y, x), ready for use; costs O(pixels patterns^2), once.

        Raises
        ------
        ShapeError
            If the shape is not two positive numbers.
        """
        mean, patterns, left = in_pixels(self.tables, tuple(shape), self.num_patterns, self.noise_level)
        patterns = held_in_the_middle(patterns, tuple(shape))
        # Plain arrays even while jax traces a caller: the prior is a constant of compiled code.
        with jax.ensure_compile_time_eval():
            excess = to_jax(mean)
            root = scale_from_covariance(patterns, left.ravel() + self.noise_level**2)
            scatter = GaussianImagePrior(jnp.zeros_like(excess), root, self.noise_level, self.name)
            return ProfileImagePrior(excess, to_jax(patterns), scatter, self.tables.softening, self.name)


def held_in_the_middle(
    patterns: Float[np.ndarray, "pixel pattern"], shape: tuple[int, int]
) -> Float[np.ndarray, "pixel pattern"]:
    r"""Return patterns of which the middle of the image is within ``CENTER_SIGMA`` of zero.

    With g the patterns in the middle, the conditional covariance of the coefficients, and its root, are

    .. math:: I - \frac{g g^T}{|g|^2 + \sigma^2} = \Big(I - \frac{g g^T}{|g|^2} (1 - r)\Big)^2,
        \qquad r = \frac{\sigma}{\sqrt{|g|^2 + \sigma^2}}
    """
    g = patterns.T @ middle_of(shape)
    length = np.sum(g**2)
    if length == 0:
        return patterns
    shrunk = 1 - CENTER_SIGMA / np.sqrt(length + CENTER_SIGMA**2)
    return patterns - np.outer(patterns @ g, g) * (shrunk / length)


def load_profile_prior(noise_level: float = DEFAULT_NOISE_LEVEL) -> ProfileMorphologyPrior:
    """Return the shipped prior."""
    return ProfileMorphologyPrior(shipped_tables("profile"), noise_level)
