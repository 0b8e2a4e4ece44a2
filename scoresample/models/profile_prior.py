"""The prior of profiles and of scatter about them, for boxes of any shape."""

import equinox as eqx
import jax
import jax.numpy as jnp

from scoresample.models.any_shape import AbstractAnyShapePrior
from scoresample.models.gaussian_image import GaussianImagePrior
from scoresample.models.gaussian_prior import GaussianMorphologyPrior
from scoresample.models.log_gaussian_prior import LogGaussianMorphologyPrior, load_log_gaussian_prior
from scoresample.models.profile_image import ProfileImagePrior
from scoresample.models.profile_shape import NUM_SHAPE
from scoresample.models.radial_tables import shipped_tables
from scoresample.numerics.linear import block_diagonal, identity_scale

DEFAULT_NOISE_LEVEL = 0.15  # in w, relative to the amplitude of the scatter


class ProfileMorphologyPrior(AbstractAnyShapePrior):
    """A smooth profile of unknown size, shape and center, and the scatter of simulated galaxies about it.

    For any box; see `ProfileImagePrior` for the formula. Only what `for_shape` returns has the map to the coordinate of
    samplers. The size of a galaxy is a parameter of its own here: what is not known of it counts in the errors of
    fluxes, and the box does not tell it.

    Parameters
    ----------
    gaussian
        Of delta; its noise level is that of the prior, 10 times the relative error of the light.
    """

    gaussian: GaussianMorphologyPrior
    name: str = eqx.field(static=True, default="profile")

    @property
    def noise_level(self) -> float:
        """In w."""
        return self.gaussian.noise_level

    @property
    def has_map(self) -> bool:
        return True

    @property
    def knows_sizes(self) -> bool:
        return True

    @property
    def least_box(self) -> int:
        return self.gaussian.least_box

    def for_core(self) -> LogGaussianMorphologyPrior:
        """Return `log-gaussian`, to which the box is the size: two images of any size in one place change roles."""
        return load_log_gaussian_prior(self.noise_level)

    def for_shape(self, shape: tuple[int, int]) -> ProfileImagePrior:
        """Return the prior on images of one shape (y, x), ready for use; costs O(pixels rank^2), once.

        Raises
        ------
        ShapeError
            If the shape is not two positive numbers.
        """
        found = self.gaussian.for_shape(shape)
        with jax.ensure_compile_time_eval():
            scatter = GaussianImagePrior(
                jnp.zeros_like(found.mean), found.root, found.noise_level, found.name
            )
            root = block_diagonal([identity_scale(NUM_SHAPE, scatter.mean.dtype), scatter.root])
        return ProfileImagePrior(found.mean, scatter, root, self.gaussian.tables.softening, self.name)


def load_profile_prior(noise_level: float = DEFAULT_NOISE_LEVEL) -> ProfileMorphologyPrior:
    """Return the shipped prior."""
    return ProfileMorphologyPrior(GaussianMorphologyPrior(shipped_tables("profile"), noise_level))
