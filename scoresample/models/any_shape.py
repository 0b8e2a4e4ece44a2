"""Priors on images of any shape, which are made ready for one at a time."""

from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.models.priors import AbstractLogPrior
from scoresample.numerics.linear import LowRankScale


class AbstractAnyShapePrior(AbstractLogPrior):
    """A prior that is made ready by `for_shape` for images of one shape, and asks what comes of it.

    Each call makes it ready anew: whoever has more than one image of a shape keeps what `for_shape` returns.
    """

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        """Return the log density of one image u."""
        return self.for_shape(value.shape).log_prob(value)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n y x"]:
        """Return ``n`` independent images u of the given shape."""
        return self.for_shape(shape).sample(key, shape, n)

    def scale(self, shape: tuple[int, ...]) -> LowRankScale:
        """Return a square root of the covariance of the raveled coordinate of samplers."""
        return self.for_shape(shape).scale(shape)
