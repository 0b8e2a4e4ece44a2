"""A user's own prior, of which only the score is known."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from scoresample.errors import ConfigError, ShapeError
from scoresample.models.morphology import COORDINATE_SCALE, to_morphology
from scoresample.models.noisier import NoisierScore
from scoresample.models.priors import AbstractPrior


class ScorePrior(AbstractPrior):
    r"""A prior on images of one shape, given by a function that returns its score.

    It has no density, and never pretends to: what compares densities takes line integrals of the score, or refuses.
    Scenes are sampled in the coordinate :math:`u = \log(S + 1) / 0.1`. A score of the density of S becomes that of u
    with the log-Jacobian of the map,

    .. math:: s_u = s_S\, \frac{dS}{du} + \frac{d}{du} \log\Big|\frac{dS}{du}\Big| = 0.1\,(S + 1)\, s_S + 0.1

    Parameters
    ----------
    fn
        Maps an image (y, x) to the gradient of the log density at it, of the same shape. A network that is an
        equinox module is handed to compiled code with its weights as arguments.
    shape
        Of the images.
    noise_level
        Standard deviation, in u, of the blur that the score was learned with; 0 if there is none.
    coordinate
        What ``fn`` takes and is the density of: ``u``, or the morphology ``S``.
    name
        Shown when a posterior is printed.
    fn_at_level
        Where the score is known with more noise as well, for `AnnealedLangevin`: maps an image and the noise level, a
        number in u that may be an argument of compiled code, to the score at that level; at ``noise_level`` to what
        ``fn`` gives.
    largest_noise_level
        The largest level that ``fn_at_level`` may be asked for.

    Raises
    ------
    ConfigError
        If the coordinate is neither, the noise level is negative, or the largest is below it.
    ShapeError
        If ``fn`` does not keep the shape, or an image of another shape comes.
    """

    fn: Callable[[Float[Array, "y x"]], Float[Array, "y x"]]
    shape: tuple[int, int] = eqx.field(static=True)
    noise_level: float = eqx.field(static=True, default=0.0)
    coordinate: str = eqx.field(static=True, default="u")
    name: str = eqx.field(static=True, default="score")
    fn_at_level: Callable[[Float[Array, "y x"], Float[Array, ""]], Float[Array, "y x"]] | None = None
    largest_noise_level: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        if self.coordinate not in ("u", "S"):
            raise ConfigError(f"coordinate is {self.coordinate!r}; it must be 'u' or 'S'.")
        if not self.noise_level >= 0:
            raise ConfigError(f"noise_level is {self.noise_level}; it must be 0 or more.")
        if self.fn_at_level is not None and not self.largest_noise_level > self.noise_level:
            raise ConfigError(
                f"largest_noise_level is {self.largest_noise_level:g}; with fn_at_level it must be above noise_level, "
                f"{self.noise_level:g}."
            )
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ShapeError(
                f"shape is {tuple(self.shape)}; a morphology prior needs (y, x), both at least 1."
            )
        found = eqx.filter_eval_shape(self.fn, jnp.zeros(self.shape))
        if getattr(found, "shape", None) != tuple(self.shape):
            raise ShapeError(
                f"the score function gives {getattr(found, 'shape', type(found).__name__)} for an image of shape "
                f"{tuple(self.shape)}; it must return one number per pixel."
            )

    def for_shape(self, shape: tuple[int, ...]) -> "ScorePrior":
        """Return itself, or raise `ShapeError` if it is for images of another shape."""
        if tuple(shape) != tuple(self.shape):
            raise ShapeError(
                f"prior {self.name!r} is for images of shape {tuple(self.shape)}, not {tuple(shape)}; give the sources "
                f"boxes of that size, as in initialize_scene(obs, catalog, box_sizes=({self.shape[0]},))."
            )
        return self

    def score(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        """Return the score of the density of u."""
        return self._score(self.fn, value)

    def score_at(self, value: Float[Array, "y x"], level: Float[Array, ""]) -> Float[Array, "y x"]:
        """Return the score of the density of u with noise of another level, where that is known."""
        at_level = self.fn_at_level
        if at_level is None:
            return self.at_noise_level(level).score(value)  # which refuses
        return self._score(lambda image: at_level(image, level), value)

    def at_noise_level(self, level: Float[Array, ""]) -> AbstractPrior:
        """Return the prior at another noise level, where that is known."""
        return super().at_noise_level(level) if self.fn_at_level is None else NoisierScore(self, level)

    def _score(self, fn, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        self.for_shape(value.shape)
        if self.coordinate == "u":
            return fn(value)
        morphology = to_morphology(value)
        return COORDINATE_SCALE * ((morphology + 1) * fn(morphology) + 1)
