"""A prior on images of one shape: a smooth profile of unknown size and shape, and scatter about it."""

from collections.abc import Callable, Hashable, Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.models.gaussian_image import GaussianImagePrior
from scoresample.models.log_gaussian_prior import from_logarithm, to_logarithm
from scoresample.models.morphology import to_coordinate, to_morphology
from scoresample.models.priors import AbstractLogPrior
from scoresample.models.profile_bend import ProfileBend, bend_around
from scoresample.models.profile_boxes import logarithms_of_profiles, sizes_of, split, spread
from scoresample.models.profile_marginal import log_prob_of_logarithm, most_probable_profile
from scoresample.models.profile_shape import AMPLITUDE_AT, NUM_SHAPE, amplitude_of
from scoresample.numerics.compiling import quick_jit
from scoresample.numerics.jacobian import value_and_jacobian
from scoresample.numerics.linear import LowRankScale, identity_scale

HELD = 0.2
"""Width, in z, of what holds the amplitude in climbs to a MAP: tight beside 1, and no wall to an optimizer."""


def _whole(function):
    """Compile a map as a whole, also where it is mapped over draws: its many small operations take a second else."""
    return quick_jit(eqx.filter_jit(function))


class ProfileImagePrior(AbstractLogPrior):
    r"""Images of one shape that scatter about a profile, in :math:`w = \log(S / s_0 + 1) / 0.1`.

    .. math:: w = m(z) + a(z)\, \delta, \qquad \delta = F c, \qquad z \sim N(0, 1)^7, \quad c \sim N(0, 1)^K

    with m(z) the logarithm of a `SoftProfile`, plus what galaxies have beyond it on average: log-normal radius, index
    between 0.4 and 6, normal ellipticity and center. The amplitude a is log-normal: most galaxies are near a profile,
    and some far from any. The K patterns F are the leading ones of the scatter of simulated galaxies. Samplers move in
    (z, c), standard normal a priori, of fewer numbers than the image has pixels.

    Parameters
    ----------
    excess
        What m has beyond the profile.
    patterns
        F, of raveled images.
    scatter
        Of delta with what the patterns leave of it and noise in every pixel: without that, images have no density.
    softening
        :math:`s_0`.
    """

    excess: Float[Array, "y x"]
    patterns: Float[Array, "pixel pattern"]
    scatter: GaussianImagePrior
    softening: float = eqx.field(static=True)
    name: str = eqx.field(static=True, default="profile")

    @property
    def noise_level(self) -> float:
        """In w."""
        return self.scatter.noise_level

    def for_shape(self, shape: tuple[int, ...]) -> "ProfileImagePrior":
        """Return itself, or raise ``ShapeError`` if it is for images of another shape."""
        self.scatter.for_shape(shape)
        return self

    @property
    def has_map(self) -> bool:
        return True

    def coordinate_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of (z, c)."""
        return (NUM_SHAPE + self.patterns.shape[1],)

    def of_pixels(self, position: Float[Array, " n"]) -> Float[Array, "y x"]:
        """Return delta."""
        return (self.patterns @ position[NUM_SHAPE:]).reshape(self.excess.shape)

    def of_coordinate(self) -> GaussianImagePrior:
        """Return the Gaussian of delta, with noise."""
        return self.scatter

    def logarithm(self, z: Float[Array, "7"]) -> Float[Array, "y x"]:
        """Return m(z)."""
        box = self.excess.shape
        return logarithms_of_profiles(z[None], (box,), self.softening).reshape(box) + self.excess

    def of_image(self, position: Float[Array, " n"]) -> Float[Array, "y x"]:
        """Return w of (z, c)."""
        z = position[:NUM_SHAPE]
        return self.logarithm(z) + amplitude_of(z) * self.of_pixels(position)

    @_whole
    def to_constrained(self, position: Float[Array, " n"]) -> tuple[Float[Array, "y x"], Float[Array, ""]]:
        """Return the image u of (z, c), and the log-Jacobian of u by delta."""
        image, log_slope = from_logarithm(self.of_image(position), self.softening)
        return image, log_slope + image.size * jnp.log(amplitude_of(position[:NUM_SHAPE]))

    @property
    def joins(self) -> Hashable:
        return type(self), self.softening

    @classmethod
    def constrain_together(
        cls, priors: Sequence["ProfileImagePrior"], positions: Sequence[Float[Array, "_ _"]]
    ) -> list[Float[Array, "_ _ _"]]:
        """Return the images u of (z, c) of several galaxies, of one or more with each prior, as one row of pixels."""
        pairs = list(zip(priors, positions, strict=True))
        boxes = tuple(prior.excess.shape for prior, several in pairs for _ in several)
        z = jnp.concatenate([several[:, :NUM_SHAPE] for several in positions])
        delta = [(several[:, NUM_SHAPE:] @ prior.patterns.T).ravel() for prior, several in pairs]
        excess = [jnp.tile(prior.excess.ravel(), len(several)) for prior, several in pairs]
        w = logarithms_of_profiles(z, boxes, priors[0].softening) + jnp.concatenate(excess)
        w = w + spread(jax.vmap(amplitude_of)(z), sizes_of(boxes)) * jnp.concatenate(delta)
        images = split(from_logarithm(w, priors[0].softening)[0], tuple(map(len, delta)))
        return [
            image.reshape(len(several), *prior.excess.shape)
            for image, (prior, several) in zip(images, pairs, strict=True)
        ]

    @_whole
    def slope(self, position: Float[Array, " n"]) -> Float[Array, "y x"]:
        """Return du / d delta."""
        w = self.of_image(position)
        by_logarithm = jax.jvp(lambda w: from_logarithm(w, self.softening)[0], (w,), (jnp.ones_like(w),))[1]
        return amplitude_of(position[:NUM_SHAPE]) * by_logarithm

    @_whole
    def pixels_by_coordinate(self, position: Float[Array, " n"]) -> Float[Array, "pixel n"]:
        """Return dw / d(z, c), in units of the amplitude: F, and beside it what profile and amplitude do."""
        return self._slope_and_image(position)[0]

    @property
    def has_bend(self) -> bool:
        return True

    @classmethod
    def bend(
        cls,
        priors: Mapping[str, "ProfileImagePrior"],
        position: Mapping[str, Float[Array, "_"]],
        information: Mapping[str, Callable],
    ) -> ProfileBend:
        """Return coordinates in which profile, amplitude and scatter are not bound to each other by the data."""
        several = priors.values()
        return bend_around(
            [prior.patterns for prior in several],
            tuple(prior.excess.shape for prior in several),
            next(iter(several)).softening,
            {name: position[name] for name in priors},
            [information[name] for name in priors],
        )

    @_whole
    def to_unconstrained(self, value: Float[Array, "y x"]) -> Float[Array, " n"]:
        """Return the most probable (z, c) of an image u; of light next to the least there can be, of a bit more.

        Of an image that has more than profiles and patterns, those nearest to it.
        """
        w = self._logarithm_of(value)
        z = most_probable_profile(self.scatter.root, self.logarithm, w)
        noise = _CLOSE * amplitude_of(z)
        cost = lambda q: jnp.sum(((w - self.of_image(q)) / noise) ** 2) + jnp.sum(q**2)

        def step(_, position):
            """Take the best of some Gauss-Newton steps; the amplitude, of which images tell by their number, stays."""
            slope, image = self._slope_and_image(position)
            slope = slope.at[:, AMPLITUDE_AT].set(0) * (amplitude_of(z) / noise)
            curvature = slope.T @ slope + jnp.eye(position.size, dtype=w.dtype)
            pull = slope.T @ ((w - image).ravel() / noise) - position
            change = jnp.linalg.solve(curvature, pull).at[AMPLITUDE_AT].set(0)
            tried = position + _DAMPING.astype(w.dtype)[:, None] * change
            costs = jax.vmap(cost)(tried)
            return tried[jnp.argmin(jnp.where(jnp.isfinite(costs), costs, jnp.inf))]

        # The scatter comes first: profiles would else take up what it has.
        seen = self.patterns.T @ self.patterns + _CLOSE**2 * jnp.eye(self.patterns.shape[1], dtype=w.dtype)
        c = jnp.linalg.solve(seen, self.patterns.T @ ((w - self.logarithm(z)).ravel() / amplitude_of(z)))
        return jax.lax.fori_loop(0, _NUM_STEPS, step, jnp.concatenate([z, c]))

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        r"""Return the log density of one image u, by Laplace's method over z.

        .. math:: \log p(u) \approx \max_z \log p(u, z) + \tfrac72 \log 2\pi - \tfrac12 \log\det H

        with H its curvature, Gauss-Newton in the profile, and delta with noise in every pixel (`scatter`); minus
        infinity where :math:`S \le -s_0`. A whole image tells z well, so that little is lost. Samplers of a
        `Posterior` have (z, c) and do not use it; those with a `PriorDistribution` do.
        """
        inside = jnp.all(to_morphology(value) > -self.softening)
        w = self._logarithm_of(value)
        log_prob = log_prob_of_logarithm(self.scatter.root, self.logarithm, w)
        return jnp.where(inside, log_prob - from_logarithm(w, self.softening)[1], -jnp.inf)

    def unconstrained_log_prob(self, position: Float[Array, " n"]) -> Float[Array, ""]:
        """Return the normalized log density of (z, c)."""
        return -0.5 * jnp.sum(position**2) - 0.5 * position.size * np.log(2 * np.pi)

    def climbed_log_prob(self, position: Float[Array, " n"]) -> Float[Array, ""]:
        """Return the log density with the amplitude held near its median.

        At the maximum over both the amplitude is large and the scatter small: each number of the scatter that data
        tell adds to the pull, and next to none of the mass is there.
        """
        z = position[AMPLITUDE_AT]
        return self.unconstrained_log_prob(position) - 0.5 * (HELD**-2 - 1) * z**2

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n y x"]:
        """Return ``n`` independent images u."""
        self.for_shape(shape)
        drawn = jax.random.normal(key, (n, *self.coordinate_shape(shape)), self.excess.dtype)
        return jax.vmap(lambda q: self.to_constrained(q)[0])(drawn)

    def scale(self, shape: tuple[int, ...]) -> LowRankScale:
        """Return a square root of the covariance of (z, c)."""
        return identity_scale(*self.for_shape(shape).coordinate_shape(shape), self.excess.dtype)

    def _slope_and_image(
        self, position: Float[Array, " n"]
    ) -> tuple[Float[Array, "pixel n"], Float[Array, "y x"]]:
        """Return dw / d(z, c), in units of the amplitude, and w."""
        z, delta = position[:NUM_SHAPE], self.of_pixels(position)
        image, slope = value_and_jacobian(lambda z: self.logarithm(z) + amplitude_of(z) * delta, z)
        slope = slope.reshape(image.size, NUM_SHAPE) / amplitude_of(z)
        return jnp.concatenate([slope, self.patterns], axis=1), image

    def _logarithm_of(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        """Return w of an image u, of light next to the least there can be where it is less."""
        least = to_coordinate(jnp.asarray(-_LEAST * self.softening, value.dtype))
        return to_logarithm(jnp.maximum(value, least), self.softening)


_CLOSE, _NUM_STEPS = 0.02, 6
"""How near the image of coordinates is to the one they are found from, in delta, and Gauss-Newton steps there."""

_DAMPING = np.array([0.0, 0.01, 0.1, 0.3, 0.6, 1.0])

_LEAST = 0.9999  # of the least light there can be, whose logarithm is not finite
