"""A prior on galaxy morphologies: a smooth profile of unknown size and shape, and how galaxies scatter about it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.models.gaussian_image import GaussianImagePrior
from scoresample.models.gaussian_prior import GaussianMorphologyPrior
from scoresample.models.log_gaussian_prior import from_logarithm, to_logarithm
from scoresample.models.morphology import COORDINATE_SCALE, to_coordinate
from scoresample.models.priors import AbstractLogPrior
from scoresample.models.radial_tables import shipped_tables
from scoresample.models.soft_profile import SOFTENING, SoftProfile
from scoresample.numerics.compiling import quick_jit
from scoresample.numerics.linear import LowRankScale, block_diagonal, identity_scale

DEFAULT_NOISE_LEVEL = 0.15  # in w: 1.5 % of the light
NUM_SHAPE = 7
"""How many numbers come before the pixels: six of the profile, and the amplitude of the scatter."""

RADIUS, RADIUS_SCATTER = 1.3, 0.8
"""Half-light radii of galaxies in pixels: median and standard deviation of the logarithm."""

ELLIPTICITY = 0.25
INDICES = (0.4, 6.0)
"""Sersic indices are between these; half of them below 1.3, a sixth below 0.74 and a sixth above 2.5."""
CENTER = 0.3

AMPLITUDE, AMPLITUDE_SCATTER = 0.5, 0.75
"""Of the scatter, relative to its root mean square over simulated galaxies: median and standard deviation of the
logarithm. Few galaxies have most of the scatter."""

HELD = 0.2
"""Width, in z, of what holds the amplitude in climbs to a MAP."""


class ProfileImagePrior(AbstractLogPrior):
    r"""Images of one shape that scatter about a profile, in :math:`w = \log(S / s_0 + 1) / 0.1`.

    .. math:: w = m(z) + a(z)\, \delta, \qquad z \sim N(0, 1)^7, \quad \delta \sim N(0, L L^T)

    with m(z) the logarithm of a `SoftProfile`, plus what galaxies have beyond it on average: log-normal radius, index
    between 0.4 and 6, normal ellipticity and center. The amplitude a is log-normal: most galaxies are near a profile,
    and some far from any. Samplers move in (z, delta), which is Gaussian a priori, on the whole real line; it has seven
    numbers more than the image.

    Parameters
    ----------
    excess
        What m has beyond the profile.
    scatter
        Of delta.
    root
        Of the covariance of (z, delta).
    softening
        :math:`s_0`.
    """

    excess: Float[Array, "y x"]
    scatter: GaussianImagePrior
    root: LowRankScale
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
        """Return the shape of (z, delta)."""
        return (NUM_SHAPE + int(np.prod(shape)),)

    def of_pixels(self, position: Float[Array, " n"]) -> Float[Array, "y x"]:
        """Return delta."""
        return position[NUM_SHAPE:].reshape(self.scatter.mean.shape)

    def of_coordinate(self) -> GaussianImagePrior:
        """Return the Gaussian of delta."""
        return self.scatter

    def profile(self, z: Float[Array, "7"]) -> SoftProfile:
        """Return the profile that z stands for."""
        radius = RADIUS * jnp.exp(RADIUS_SCATTER * z[0])
        bent = ELLIPTICITY * z[1:3]
        size = jnp.sqrt(jnp.sum(bent**2) + 1e-12)
        return SoftProfile(
            0.5 * jnp.log(radius**2 + SOFTENING**2),
            bent * jnp.tanh(size) / size,
            jnp.log(INDICES[0] + (INDICES[1] - INDICES[0]) * jax.nn.sigmoid(1.1 * z[3] - 1.65)),
            CENTER * z[4:6],
        )

    def amplitude(self, z: Float[Array, "7"]) -> Float[Array, ""]:
        """Return a(z)."""
        return AMPLITUDE * jnp.exp(AMPLITUDE_SCATTER * z[6])

    def logarithm(self, z: Float[Array, "7"]) -> Float[Array, "y x"]:
        """Return m(z)."""
        middle = [(n - 1) / 2 for n in self.scatter.mean.shape]
        y, x = (jnp.arange(n) - c for n, c in zip(self.scatter.mean.shape, middle, strict=True))
        light = jnp.exp(self.profile(z).log_light(y[:, None], x[None, :]))
        return jnp.log1p(light / self.softening) / COORDINATE_SCALE + self.excess

    def of_image(self, position: Float[Array, " n"]) -> Float[Array, "y x"]:
        """Return w of (z, delta)."""
        z = position[:NUM_SHAPE]
        return self.logarithm(z) + self.amplitude(z) * self.of_pixels(position)

    def to_constrained(self, position: Float[Array, " n"]) -> tuple[Float[Array, "y x"], Float[Array, ""]]:
        """Return the image u of (z, delta), and the log-Jacobian of u by delta."""
        image, log_slope = from_logarithm(self.of_image(position), self.softening)
        return image, log_slope + image.size * jnp.log(self.amplitude(position[:NUM_SHAPE]))

    def slope(self, position: Float[Array, " n"]) -> Float[Array, "y x"]:
        """Return du / d delta."""
        w, amplitude = self.of_image(position), self.amplitude(position[:NUM_SHAPE])
        return jax.jvp(lambda w: from_logarithm(w, self.softening)[0], (w,), (jnp.full_like(w, amplitude),))[
            1
        ]

    def beside_pixels(self, position: Float[Array, " n"]) -> Float[Array, "pixel 7"]:
        """Return dw / dz, in units of the amplitude."""
        z, delta = position[:NUM_SHAPE], self.of_pixels(position)
        of_image = lambda z: (self.logarithm(z) + self.amplitude(z) * delta).ravel()
        return jax.jacfwd(of_image)(z) / self.amplitude(z)

    def to_unconstrained(self, value: Float[Array, "y x"]) -> Float[Array, " n"]:
        """Return the most probable (z, delta) of an image u; of light next to the least there can be, of a bit more."""
        least = to_coordinate(jnp.asarray(-_LEAST * self.softening, value.dtype))
        w = to_logarithm(jnp.maximum(value, least), self.softening)
        z = self._most_probable(w)
        return jnp.concatenate([z, ((w - self.logarithm(z)) / self.amplitude(z)).ravel()])

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        r"""Return the log density of one image u, by Laplace's method over z.

        .. math:: \log p(u) \approx \max_z \log p(u, z) + \tfrac72 \log 2\pi - \tfrac12 \log\det H

        with H its curvature, Gauss-Newton in the profile. A whole image tells z well, so that little is lost. Samplers
        do not use it.
        """
        position = self.to_unconstrained(value)
        z = position[:NUM_SHAPE]
        slope = self._whitened_slope(z)
        curvature = jnp.eye(NUM_SHAPE, dtype=z.dtype).at[:6, :6].add(slope.T @ slope)
        # In the amplitude: the misfit falls as 1 / a^2, and at the best a it is about the number of pixels.
        misfit = jnp.sum(self.scatter.whiten(self.of_pixels(position)) ** 2)
        curvature = curvature.at[6, 6].add(2 * AMPLITUDE_SCATTER**2 * misfit)
        cross = -2 * AMPLITUDE_SCATTER * z[:6]
        curvature = curvature.at[:6, 6].add(-cross).at[6, :6].add(-cross)
        width = 0.5 * NUM_SHAPE * np.log(2 * np.pi) - 0.5 * jnp.linalg.slogdet(curvature)[1]
        return self.unconstrained_log_prob(position) + width - self.to_constrained(position)[1]

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
        z = position[6]
        return self.unconstrained_log_prob(position) - 0.5 * (HELD**-2 - 1) * z**2

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n y x"]:
        """Return ``n`` independent images u."""
        key_shape, key_scatter = jax.random.split(key)
        z = jax.random.normal(key_shape, (n, NUM_SHAPE), self.scatter.mean.dtype)
        delta = self.scatter.sample(key_scatter, shape, n).reshape(n, -1)
        return jax.vmap(lambda q: self.to_constrained(q)[0])(jnp.concatenate([z, delta], axis=1))

    def scale(self, shape: tuple[int, ...]) -> LowRankScale:
        """Return a square root of the covariance of (z, delta)."""
        self.for_shape(shape)
        return self.root

    @quick_jit
    def _most_probable(self, w: Float[Array, "y x"]) -> Float[Array, "7"]:
        """Return the z that is most probable with w, by damped Gauss-Newton steps from the best of some radii."""

        def misfit(z):
            return self.scatter.whiten(w - self.logarithm(z)).ravel()

        def loss(z):
            fit = 0.5 * jnp.sum((misfit(z) / self.amplitude(z)) ** 2) + w.size * jnp.log(self.amplitude(z))
            total = fit + 0.5 * jnp.sum(z**2)
            return jnp.where(jnp.isfinite(total), total, jnp.inf)  # a wild step may overflow

        def with_amplitude(z):
            # Of e^{-2ct} q / 2 + c n t + t^2 / 2, by Newton's method from where it is least but for the last term.
            scale, size = AMPLITUDE_SCATTER, w.size
            squared = jnp.sum(misfit(z) ** 2) / AMPLITUDE**2
            t = jnp.log(squared / size) / (2 * scale)
            for _ in range(3):
                fall = squared * jnp.exp(-2 * scale * t)
                t = t - (scale * (size - fall) + t) / (2 * scale**2 * fall + 1)
            return z.at[6].set(t)

        def step(_, z):
            slope = self._whitened_slope(z)
            curvature = jnp.eye(6, dtype=z.dtype) + slope.T @ slope
            change = jnp.linalg.solve(curvature, slope.T @ (misfit(z) / self.amplitude(z)) - z[:6])
            tried = z + _DAMPING[:, None].astype(z.dtype) * jnp.append(change, 0)
            tried = jax.vmap(with_amplitude)(tried)
            return tried[jnp.argmin(jax.vmap(loss)(tried))]

        radii = jnp.linspace(-1.5, 3, 10, dtype=w.dtype)
        first = jnp.zeros((len(radii), NUM_SHAPE), w.dtype).at[:, 0].set(radii)
        first = jax.vmap(with_amplitude)(first)
        return jax.lax.fori_loop(0, _NUM_STEPS, step, first[jnp.argmin(jax.vmap(loss)(first))])

    def _whitened_slope(self, z: Float[Array, "7"]) -> Float[Array, "pixel 6"]:
        """Return the inverse of a L times the derivative of m by what it depends on."""
        slope = jax.jacfwd(self.logarithm)(z)[..., :6].reshape(-1, 6) / self.amplitude(z)
        return jax.vmap(self.scatter.root.inverse, in_axes=1, out_axes=1)(slope)


_LEAST = 0.9999  # of the least light there can be, whose logarithm is not finite
_NUM_STEPS = 12
_DAMPING = np.array([0.0, 0.1, 0.3, 0.6, 1.0])


class ProfileMorphologyPrior(AbstractLogPrior):
    """A smooth profile of unknown size, shape and center, and the scatter of simulated galaxies about it.

    For any box; see `ProfileImagePrior` for the formula. The size of a galaxy is a parameter of its own here: what is
    not known of it counts in the errors of fluxes, and the box does not tell it.

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

    def log_prob(self, value: Float[Array, "y x"]) -> Float[Array, ""]:
        """Return the log density of one image u; see `ProfileImagePrior.log_prob`."""
        return self.for_shape(value.shape).log_prob(value)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...], n: int) -> Float[Array, "n y x"]:
        """Return ``n`` independent images u of the given shape."""
        return self.for_shape(shape).sample(key, shape, n)

    def scale(self, shape: tuple[int, ...]) -> LowRankScale:
        """Return a square root of the covariance of the coordinate of samplers."""
        return self.for_shape(shape).scale(shape)


def load_profile_prior(noise_level: float = DEFAULT_NOISE_LEVEL) -> ProfileMorphologyPrior:
    """Return the shipped prior."""
    return ProfileMorphologyPrior(GaussianMorphologyPrior(shipped_tables("profile"), noise_level))
