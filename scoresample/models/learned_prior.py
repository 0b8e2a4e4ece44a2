"""The prior learned from simulated galaxies: an energy, so that it has a density."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key, PRNGKeyArray

from scoresample.errors import ConfigError, DataError, ShapeError
from scoresample.models.brightness import (
    USUAL_BRIGHTNESS,
    brightness_sd,
    move_to_brightness,
    of_usual_brightness,
    off_brightness,
)
from scoresample.models.energy_network import EnergyNetwork
from scoresample.models.galaxy_box import galaxy_box
from scoresample.models.noisier import NoisierLogPrior
from scoresample.models.priors import AbstractLogPrior, Around
from scoresample.models.radial_tables import RadialTables
from scoresample.models.reverse_diffusion import draw_from_noise, noise_levels_down
from scoresample.numerics.compiling import quick_jit
from scoresample.numerics.curvature import lanczos
from scoresample.numerics.linear import LowRankScale, identity_scale

SIDES = (16, 128)
NOISE_LEVELS = (0.05, 10.0)
"""Where the network was trained often enough to be relied on."""

TRAINED_LEVELS = (0.05, 80.0)
"""All noise levels of training; at the largest, where draws begin, images are all but noise."""

LARGEST_VALUE = 9.0
"""No galaxy of training has a pixel above this u, S = 1.46, or below 0."""

LEAST_CENTER = 4.0
"""Hardly any, one in 300, has less than this u in the center of its box, S = 0.49."""

NUM_DIRECTIONS = 100
"""Directions that are told apart around an image; galaxies vary along some 10 (25 pixels) to 85 (49 pixels)."""

LEAST_PRECISION = 0.02
"""Of a direction that galaxies vary along without limit, as far as the network knows: in units of the noise's."""

_NUM_STEPS = 40

DEFAULT_NOISE_LEVEL = 0.3  # in u: 3 % of the peak; docs/priors.md says what was measured to choose it


class LearnedPrior(AbstractLogPrior):
    r"""Images of galaxies, u = log(S + 1) / 0.1, with Gaussian noise of one level, as a network learned them.

    .. math:: \log p_\sigma(u) = -E(u, \sigma) - \frac{(b(u) + 0.19)^2}{2\, (0.02\, (1 + \sigma^2))^2}
        - \frac{1}{2\sigma^2} \Big[(4 - 3\sigma - u_c)_+^2
        + \sum_{pixels} (u - 9 - 3\sigma)_+^2 + (-3\sigma - u)_+^2\Big]

    up to a constant, and the score is its exact gradient. E is what the network learned. The second term fixes the
    scale of S by its brightness b (`models.brightness`), which data never tell, since the flux takes up any factor. The
    last, with u_c the mean of the central one, two or four pixels, is 0 for all galaxies but a few in a thousand: it is
    how the noise lets the density fall off outside of the values they have, where the network never saw an image.

    The noise makes it a density that a network can learn; it is no part of a galaxy. A scene shows the galaxy that an
    image u with noise is expected to be (Tweedie's formula, e.g. Efron 2011, JASA 106, 1602),

    .. math:: D(u) = u - \sigma^2 \nabla E(u, \sigma),

    so that the density of u stays what it is, and what data know of galaxies is not blurred by the noise.

    Parameters
    ----------
    network
        With a density: any kind but ``score``.
    tables
        Mean and covariance of galaxies that the network was trained to correct. Under ``jax.jit`` they are a static
        argument, compared by identity.
    noise_level
        sigma, in u. Details fainter than about 0.1 sigma of the peak are smoothed away.
    name
        Shown when a posterior is printed.
    hides_noise
        Whether scenes show the galaxy D(u), or the image u with its noise. The latter is several times cheaper to
        sample, and wrong where the noise, 0.1 sigma times the brightness of a galaxy, is not small against that of the
        data: bright galaxies then lose light to others.

    Raises
    ------
    ConfigError
        If the noise level is outside of what was trained, or the network has no density.
    ShapeError
        If an image has a side below 16 or above 128.
    DataError
        If an image has values that are not finite.
    """

    network: EnergyNetwork
    tables: RadialTables = eqx.field(static=True)
    noise_level: float = eqx.field(static=True, default=DEFAULT_NOISE_LEVEL)
    name: str = eqx.field(static=True, default="galaxies")
    hides_noise: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        if self.network.kind == "score":
            raise ConfigError("this network has no density; use it through ScorePrior.")
        if not NOISE_LEVELS[0] <= self.noise_level <= NOISE_LEVELS[1]:
            raise ConfigError(
                f"noise_level is {self.noise_level:g}; the network was trained for {NOISE_LEVELS[0]:g} to "
                f"{NOISE_LEVELS[1]:g}, and {DEFAULT_NOISE_LEVEL:g} is the usual one."
            )

    @property
    def least_box(self) -> int:
        return SIDES[0]

    def for_shape(self, shape: tuple[int, ...]) -> "LearnedPrior":
        """Return itself, or raise `ShapeError` if it is not for such images."""
        if len(shape) != 2 or min(shape) < SIDES[0] or max(shape) > SIDES[1]:
            raise ShapeError(
                f"prior {self.name!r} is for images of {SIDES[0]} to {SIDES[1]} pixels a side, not {tuple(shape)}; "
                "tell initialize_scene(obs, catalog, prior=prior) of it, so that it lays such boxes, "
                "or take load_prior('gaussian'), which is for any."
            )
        return self

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        """Return the log density of one image u, up to a constant."""
        return self.log_prob_at(value, self.noise_level)

    def score(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        """Return the gradient of ``log_prob``."""
        return self.score_at(value, self.noise_level)

    def log_prob_at(
        self, value: Float[Array, "y x"], noise_level: float | Float[Array, ""]
    ) -> Float[Array, ""]:
        """Return the log density of an image with noise of another level; constants of two levels differ."""
        self._check(value, noise_level)
        u, box, network = self._ready(value)
        level = jnp.asarray(noise_level, u.dtype)
        return -network.energy(u, box, level) - _outside(value, level) - off_brightness(value, level)

    def score_at(
        self, value: Float[Array, "y x"], noise_level: float | Float[Array, ""]
    ) -> Float[Array, "y x"]:
        """Return the score at another noise level, which compiled code takes as an argument."""
        self._check(value, noise_level)
        return jax.grad(self.log_prob_at)(value, noise_level)

    def to_seen(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        """Return the galaxy D(u) in an image u with noise, or the image where its noise is seen."""
        return self.to_seen_at(value, self.noise_level)

    def to_seen_at(
        self, value: Float[Array, "y x"], noise_level: float | Float[Array, ""]
    ) -> Float[Array, "y x"]:
        """Return the galaxy in an image with noise of another level."""
        self._check(value, noise_level)
        if not self.hides_noise:
            return value
        u, box, network = self._ready(value)
        denoised = network.denoise(u, box, jnp.asarray(noise_level, u.dtype))
        return denoised[tuple(slice(n) for n in value.shape)]

    def around(self, value: Float[Array, "y x"]) -> Around | None:
        """Return how the prior looks around an image: galaxies vary along some dozens of directions."""
        self._check(value, self.noise_level)
        if not self.hides_noise:
            return None
        directions, seen = _galaxy_directions(self, value)
        precision = jnp.maximum(1 - seen, LEAST_PRECISION) / self.noise_level**2
        return Around(directions, seen, precision, 1 / self.noise_level**2)

    @property
    def largest_noise_level(self) -> float:
        """The largest noise level that the network can be relied on for."""
        return NOISE_LEVELS[1]

    def at_noise_level(self, level: Float[Array, ""]) -> NoisierLogPrior:
        """Return the prior at another noise level, which compiled code takes as an argument."""
        return NoisierLogPrior(self, level)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n y x"]:
        """Return ``n`` independent images u of the given shape, with noise of ``noise_level``: by reverse diffusion."""
        self.for_shape(shape)
        return _draw(self, jax.random.split(key, n), tuple(shape))

    def scale(self, shape: tuple[int, ...]) -> LowRankScale:
        """Return the noise level, which is the width along all that galaxies do not vary in."""
        unit = identity_scale(int(np.prod(shape)))
        return LowRankScale(self.noise_level * unit.diagonal, unit.directions, unit.stretch)

    def _check(self, value, noise_level) -> None:
        """Raise an error for what the network was not made for; in compiled code only the shape is known."""
        self.for_shape(value.shape)
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise DataError(f"a morphology has type {value.dtype}; the prior needs u, of a floating type.")
        if not isinstance(value, Tracer) and not np.isfinite(value).all():
            bad = int(np.sum(~np.isfinite(value)))
            raise DataError(
                f"{bad} of {value.size} values of a morphology are not finite; the prior needs all."
            )
        least, largest = TRAINED_LEVELS
        if not isinstance(noise_level, Tracer) and not least <= float(noise_level) <= largest:
            raise ConfigError(
                f"noise_level is {float(noise_level):g}; the network was trained for {least:g} to {largest:g}."
            )

    def _ready(self, value):
        """Return an image padded to a size of the network, its box, and the network in its precision."""
        value = jnp.asarray(value)
        box = galaxy_box(self.tables, value.shape)
        pad = [(0, large - n) for large, n in zip(box.mask.shape, value.shape, strict=True)]
        cast = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, value.dtype), tree)
        return jnp.pad(value, pad), cast(box), cast(self.network)


def _outside(u: Float[Array, "y x"], noise_level: Float[Array, ""]) -> Float[Array, ""]:
    """Return half the squared distance, in noise levels, from the values that galaxies have beyond what noise makes."""
    margin = 3 * noise_level
    center = jnp.mean(u[tuple(slice((n - 1) // 2, n // 2 + 1) for n in u.shape)])
    above, below = jnp.maximum(u - LARGEST_VALUE - margin, 0), jnp.maximum(-margin - u, 0)
    squared = jnp.sum(above**2 + below**2) + jnp.maximum(LEAST_CENTER - margin - center, 0) ** 2
    return 0.5 * squared / noise_level**2


@quick_jit
def _galaxy_directions(prior: LearnedPrior, value: Float[Array, "y x"]):
    """Return the directions that galaxies vary along, (n, k), and how much of a step along each is one of them."""

    def product(v):
        return jax.jvp(prior.to_seen, (value,), (v.reshape(value.shape),))[1].ravel()

    start = jax.random.normal(jax.random.key(0), (value.size,), value.dtype)
    seen, directions, _ = lanczos(product, start, min(NUM_DIRECTIONS, value.size))
    return directions, seen


@eqx.filter_jit
def _draw(prior: LearnedPrior, keys: Key[Array, " n"], shape: tuple[int, int]) -> Float[Array, "n y x"]:
    levels = noise_levels_down(TRAINED_LEVELS[1], prior.noise_level, _NUM_STEPS)
    level = jnp.asarray(levels[-1], jnp.result_type(float))

    def draw(key):
        key_noise, key_brightness = jax.random.split(key)
        noise, box, network = prior._ready(jax.random.normal(key_noise, shape))
        denoise = lambda u, level: network.denoise(u, box, level)
        drawn = draw_from_noise(denoise, noise, levels)
        # The network knows galaxies of all scales: the galaxy is brought to the usual one, and keeps its noise.
        cut = lambda image: image[: shape[0], : shape[1]]
        galaxy, drawn = cut(denoise(drawn, level.astype(drawn.dtype))), cut(drawn)
        drawn = of_usual_brightness(galaxy) + (drawn - galaxy)
        scatter = brightness_sd(level) * jax.random.normal(key_brightness)
        return move_to_brightness(drawn, USUAL_BRIGHTNESS + scatter)

    return jax.lax.map(draw, keys, batch_size=16)
