"""A prior on images as a numpyro distribution, for a user's own model."""

import math

import jax
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.errors import ScoreOnlyError
from scoresample.models.priors import AbstractLogPrior, AbstractPrior


class PriorDistribution(dist.Distribution):
    """A prior over images of one shape, so that a site of a numpyro model can be a galaxy image u.

    ``numpyro.sample("galaxy", PriorDistribution(ss.load_prior("galaxies"), (25, 25)))``

    Parameters
    ----------
    prior
        With a density.
    shape
        Of the image.

    Raises
    ------
    ScoreOnlyError
        If the prior has only a score: numpyro compares densities.
    """

    support = dist.constraints.real_matrix
    pytree_data_fields = ("prior",)

    def __init__(self, prior: AbstractPrior, shape: tuple[int, int], *, validate_args=None):
        if not isinstance(prior, AbstractLogPrior):
            raise ScoreOnlyError(
                f"a numpyro distribution needs log_prob, but prior {prior.name!r} gives only a score; use a prior "
                "with a density such as load_prior('galaxies')."
            )
        self.prior = prior.for_shape(shape)
        super().__init__(batch_shape=(), event_shape=tuple(shape), validate_args=validate_args)

    def sample(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
        """Return independent images."""
        return self.prior.sample(key, self.event_shape, math.prod(sample_shape)).reshape(
            *sample_shape, *self.event_shape
        )

    def log_prob(self, value: Float[Array, "*batch y x"]) -> Float[Array, "*batch"]:
        """Return the log density of each image."""
        flat = value.reshape(-1, *self.event_shape)
        found = jax.vmap(self.prior.log_prob)(flat)
        return found.reshape(value.shape[:-2])
