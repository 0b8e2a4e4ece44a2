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
                "with a density such as load_prior('galaxies'), or ScoreDistribution and NumpyroDensity."
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


class ScoreDistribution(dist.Distribution):
    """A prior of which only the score is known, as a site of a numpyro model that `NumpyroDensity` samples.

    It has no density and no draws. numpyro's own samplers ask for one, and get an error.

    Parameters
    ----------
    prior
        With a score.
    shape
        Of the image u.
    """

    support = dist.constraints.real_matrix
    pytree_data_fields = ("prior",)

    def __init__(self, prior: AbstractPrior, shape: tuple[int, int], *, validate_args=None):
        self.prior = prior.for_shape(shape)
        super().__init__(batch_shape=(), event_shape=tuple(shape), validate_args=validate_args)

    def sample(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
        """Raise `ScoreOnlyError`."""
        raise ScoreOnlyError(f"prior {self.prior.name!r} gives only a score, and cannot be drawn from.")

    def log_prob(self, value: Float[Array, "*batch y x"]) -> Float[Array, "*batch"]:
        """Raise `ScoreOnlyError`."""
        raise ScoreOnlyError(
            f"log_prob was asked for, but prior {self.prior.name!r} gives only a score; sample the model with "
            "ss.sample(key, ss.NumpyroDensity(model)). A site is not in a plate."
        )
