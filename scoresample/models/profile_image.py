"""A prior on images of one shape: a smooth profile of unknown size and shape, and scatter about it."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.errors import ShapeError
from scoresample.models.gaussian_image import GaussianImagePrior
from scoresample.models.log_gaussian_prior import from_logarithm, to_logarithm
from scoresample.models.morphology import to_coordinate, to_morphology
from scoresample.models.priors import AbstractLogPrior
from scoresample.models.profile_bend import ProfileBend, profile_bend
from scoresample.models.profile_marginal import log_prob_of_logarithm, most_probable_profile
from scoresample.models.profile_shape import (
    AMPLITUDE_AT,
    NUM_SHAPE,
    amplitude_of,
    logarithm_of_profile,
)
from scoresample.numerics.compiling import quick_jit
from scoresample.numerics.linear import LowRankScale

HELD = 0.2
"""Width, in z, of what holds the amplitude in climbs to a MAP: tight beside 1, and no wall to an optimizer."""


def _whole(function):
    """Compile a map as a whole, also where it is mapped over draws: its many small operations take a second else."""
    return quick_jit(eqx.filter_jit(function))


class ProfileImagePrior(AbstractLogPrior):
    r"""Images of one shape that scatter about a profile, in :math:`w = \log(S / s_0 + 1) / 0.1`.

    .. math:: w = m(z) + a(z)\, \delta, \qquad z \sim N(0, 1)^7, \quad \delta \sim N(0, L L^T)

    with m(z) the logarithm of a `SoftProfile`, plus what galaxies have beyond it on average: log-normal radius, index
    between 0.4 and 6, normal ellipticity and center. The amplitude a is log-normal: most galaxies are near a profile,
    and some far from any. There is scatter in the middle of a box; in the margin, wings are those of the profile.
    Samplers move in (z, delta), which is Gaussian a priori, on the whole real line.

    Parameters
    ----------
    excess
        What m has beyond the profile, in the middle.
    scatter
        Of delta, there.
    root
        Of the covariance of (z, delta).
    box
        Shape of the images; the middle is as many pixels from both ends.
    softening
        :math:`s_0`.
    """

    excess: Float[Array, "h w"]
    scatter: GaussianImagePrior
    root: LowRankScale
    box: tuple[int, int] = eqx.field(static=True)
    softening: float = eqx.field(static=True)
    name: str = eqx.field(static=True, default="profile")

    @property
    def noise_level(self) -> float:
        """In w."""
        return self.scatter.noise_level

    def for_shape(self, shape: tuple[int, ...]) -> "ProfileImagePrior":
        """Return itself, or raise ``ShapeError`` if it is for images of another shape."""
        if tuple(shape) != self.box:
            raise ShapeError(f"this prior of profiles is for images of shape {self.box}, not {tuple(shape)}.")
        return self

    @property
    def has_map(self) -> bool:
        return True

    def coordinate_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of (z, delta)."""
        return (NUM_SHAPE + self.scatter.mean.size,)

    def free_pixels(self, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """Return where the scatter is."""
        self.for_shape(shape)
        margins = [(n - k) // 2 for n, k in zip(self.box, self.scatter.mean.shape, strict=True)]
        return tuple(slice(m, m + k) for m, k in zip(margins, self.scatter.mean.shape, strict=True))

    def of_pixels(self, position: Float[Array, " n"]) -> Float[Array, "h w"]:
        """Return delta."""
        return position[NUM_SHAPE:].reshape(self.scatter.mean.shape)

    def of_coordinate(self) -> GaussianImagePrior:
        """Return the Gaussian of delta."""
        return self.scatter

    def logarithm(self, z: Float[Array, "7"]) -> Float[Array, "y x"]:
        """Return m(z)."""
        return logarithm_of_profile(z, self.box, self.softening) + self._in_box(self.excess)

    def of_image(self, position: Float[Array, " n"]) -> Float[Array, "y x"]:
        """Return w of (z, delta)."""
        z = position[:NUM_SHAPE]
        return self.logarithm(z) + amplitude_of(z) * self._in_box(self.of_pixels(position))

    @_whole
    def to_constrained(self, position: Float[Array, " n"]) -> tuple[Float[Array, "y x"], Float[Array, ""]]:
        """Return the image u of (z, delta), and the log-Jacobian of u by delta."""
        w, middle = self.of_image(position), self.free_pixels(self.box)
        _, log_slope = from_logarithm(w[middle], self.softening)
        log_amplitude = jnp.log(amplitude_of(position[:NUM_SHAPE]))
        return from_logarithm(w, self.softening)[0], log_slope + self.excess.size * log_amplitude

    @_whole
    def slope(self, position: Float[Array, " n"]) -> Float[Array, "y x"]:
        """Return du / d delta; in the margin, what it would be."""
        w = self.of_image(position)
        image = lambda w: from_logarithm(w, self.softening)[0]
        return amplitude_of(position[:NUM_SHAPE]) * jax.jvp(image, (w,), (jnp.ones_like(w),))[1]

    @_whole
    def beside_pixels(self, position: Float[Array, " n"]) -> Float[Array, "pixel 7"]:
        """Return dw / dz, in units of the amplitude."""
        z, delta = position[:NUM_SHAPE], self.of_pixels(position)
        of_image = lambda z: (self.logarithm(z) + amplitude_of(z) * self._in_box(delta)).ravel()
        return jax.jacfwd(of_image)(z) / amplitude_of(z)

    @property
    def has_bend(self) -> bool:
        return True

    def bend(self, position: Float[Array, " n"], information: Callable) -> ProfileBend:
        """Return coordinates in which profile, amplitude and scatter are not bound to each other by the data."""
        middle = self.free_pixels(self.box)

        def of_scatter(columns: np.ndarray) -> np.ndarray:
            images = np.zeros((*self.box, columns.shape[1]), columns.dtype)
            images[middle] = columns.reshape(images[middle].shape)
            known = information(images.reshape(-1, columns.shape[1])).reshape(images.shape)
            return known[middle].reshape(columns.shape)

        return profile_bend(self.scatter.root, self.softening, self.excess.shape, position, of_scatter)

    @_whole
    def to_unconstrained(self, value: Float[Array, "y x"]) -> Float[Array, " n"]:
        """Return the most probable (z, delta) of an image u; of light next to the least there can be, of a bit more."""
        w = self._logarithm_of(value)
        z = most_probable_profile(self._whole, self.logarithm, w)
        off = (w - self.logarithm(z))[self.free_pixels(w.shape)]
        return jnp.concatenate([z, (off / amplitude_of(z)).ravel()])

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        r"""Return the log density of one image u, by Laplace's method over z.

        .. math:: \log p(u) \approx \max_z \log p(u, z) + \tfrac72 \log 2\pi - \tfrac12 \log\det H

        with H its curvature, Gauss-Newton in the profile; minus infinity where :math:`S \le -s_0`. A whole image
        tells z well, so that little is lost. In the margin images count as if they had the noise of the prior, without
        which there is no density of theirs. Samplers of a `Posterior` do not use it; those with a `PriorDistribution`
        do.
        """
        inside = jnp.all(to_morphology(value) > -self.softening)
        w = self._logarithm_of(value)
        log_prob = (
            log_prob_of_logarithm(self._whole, self.logarithm, w) - from_logarithm(w, self.softening)[1]
        )
        return jnp.where(inside, log_prob, -jnp.inf)

    def unconstrained_log_prob(self, position: Float[Array, " n"]) -> Float[Array, ""]:
        """Return the normalized log density of (z, delta)."""
        z = position[:NUM_SHAPE]
        normal = -0.5 * jnp.sum(z**2) - 0.5 * NUM_SHAPE * np.log(2 * np.pi)
        return normal + self.scatter.log_prob(self.of_pixels(position))

    def climbed_log_prob(self, position: Float[Array, " n"]) -> Float[Array, ""]:
        """Return the log density with the amplitude held near its median.

        At the maximum over both the amplitude is large and the scatter small: each number of the scatter that data
        tell adds to the pull, and next to none of the mass is there.
        """
        z = position[AMPLITUDE_AT]
        return self.unconstrained_log_prob(position) - 0.5 * (HELD**-2 - 1) * z**2

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n y x"]:
        """Return ``n`` independent images u."""
        key_shape, key_scatter = jax.random.split(key)
        z = jax.random.normal(key_shape, (n, NUM_SHAPE), self.scatter.mean.dtype)
        self.for_shape(shape)
        delta = self.scatter.sample(key_scatter, self.scatter.mean.shape, n).reshape(n, -1)
        return jax.vmap(lambda q: self.to_constrained(q)[0])(jnp.concatenate([z, delta], axis=1))

    def scale(self, shape: tuple[int, ...]) -> LowRankScale:
        """Return a square root of the covariance of (z, delta)."""
        self.for_shape(shape)
        return self.root

    @property
    def _whole(self) -> LowRankScale:
        """The square root of the covariance of the whole image's scatter, with the noise of the prior in the margin."""
        inner = self.scatter.root
        middle = np.zeros(self.box, bool)
        middle[self.free_pixels(self.box)] = True
        at = np.flatnonzero(middle)
        noise = jnp.full(middle.size, self.noise_level, inner.diagonal.dtype)
        directions = jnp.zeros((middle.size, inner.stretch.size), inner.directions.dtype)
        return LowRankScale(
            noise.at[at].set(inner.diagonal), directions.at[at].set(inner.directions), inner.stretch
        )

    def _in_box(self, middle: Float[Array, "h w"]) -> Float[Array, "y x"]:
        """Return an image of a whole box from its middle, 0 around."""
        return jnp.pad(middle, [((n - k) // 2,) * 2 for n, k in zip(self.box, middle.shape, strict=True)])

    def _logarithm_of(self, value: Float[Array, "y x"]) -> Float[Array, "y x"]:
        """Return w of an image u, of light next to the least there can be where it is less."""
        least = to_coordinate(jnp.asarray(-_LEAST * self.softening, value.dtype))
        return to_logarithm(jnp.maximum(value, least), self.softening)


_LEAST = 0.9999  # of the least light there can be, whose logarithm is not finite
