"""Morphologies: how the light of one source is spread, as its Fourier transform on a stamp."""

import abc
from functools import cache

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.special
from jaxtyping import Array, Complex, Float

from scoresample.numerics.fft import wave_numbers
from scoresample.numerics.interpolation import interpolate_rows

COORDINATE_SCALE = 0.1  # of u = log(S + 1) / 0.1, the coordinate of the morphology priors


def to_morphology(u: Float[Array, "*s"]) -> Float[Array, "*s"]:
    r"""Return :math:`S = e^{0.1 u} - 1`."""
    return jnp.expm1(COORDINATE_SCALE * u)


def to_coordinate(morphology: Float[Array, "*s"]) -> Float[Array, "*s"]:
    r"""Return :math:`u = \log(S + 1) / 0.1` (source paper, eq. 10); needs S > -1."""
    return jnp.log1p(morphology) / COORDINATE_SCALE


class AbstractMorphology(eqx.Module):
    """The shape of a source, of unit total flux.

    Its array fields are its parameters; each can be given a prior under the name of the field.
    """

    on_pixels: eqx.AbstractClassVar[bool]
    """Whether the shape is given on pixels, at the resolution of the model PSF, or as a continuous profile."""

    @abc.abstractmethod
    def transform(self, shape: tuple[int, int]) -> Complex[Array, "y x"]:
        """Return the Fourier transform, for unit flux, on the ``rfft2`` grid of ``shape``.

        On pixels: of the box laid at the corner of the grid. Otherwise: of the profile around the origin.
        """

    @property
    def total(self) -> Float[Array, ""]:
        """The flux of the morphology as it stands, before it is divided by it: sum of S, or 1."""
        return jnp.ones(())

    def plain_transform(self, shape: tuple[int, int]) -> Complex[Array, "y x"]:
        """Return the Fourier transform of the morphology as it stands: ``total`` times `transform`."""
        return self.transform(shape)

    @property
    def parameters(self) -> dict[str, Array]:
        """Parameters by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class PixelMorphology(AbstractMorphology):
    """Any shape at all: one value per pixel of the box, in the coordinate u.

    Parameters
    ----------
    image
        u, (y, x) over the box. The flux of the source is spread as S(u) over its sum.
    """

    on_pixels = True
    image: Float[Array, "y x"]

    def transform(self, shape: tuple[int, int]) -> Complex[Array, "y x"]:
        return jnp.fft.rfft2(to_morphology(self.image) / self.total, s=shape)

    @property
    def total(self) -> Float[Array, ""]:
        return jnp.sum(to_morphology(self.image))

    def plain_transform(self, shape: tuple[int, int]) -> Complex[Array, "y x"]:
        return jnp.fft.rfft2(to_morphology(self.image), s=shape)


class PointSource(AbstractMorphology):
    """A star, or anything else that is not resolved."""

    on_pixels = False

    def transform(self, shape: tuple[int, int]) -> Complex[Array, "y x"]:
        return jnp.ones((shape[0], shape[1] // 2 + 1), jnp.result_type(complex))


def _stretched_wave_number_squared(k_y, k_x, radius, ellipticity):
    r"""Return :math:`|M k|^2` for the profile stretched by :math:`M`.

    :math:`M = r (1 - e^2)^{-1/2} ((1 + e_1, e_2), (e_2, 1 - e_1))` acting on (x, y): axis ratio
    :math:`(1 - e)/(1 + e)`, and ``r`` is the geometric mean of the axes.
    """
    e_1, e_2 = ellipticity
    along_x = (1 + e_1) * k_x + e_2 * k_y
    along_y = e_2 * k_x + (1 - e_1) * k_y
    return radius**2 / (1 - e_1**2 - e_2**2) * (along_x**2 + along_y**2)


class GaussianProfile(AbstractMorphology):
    """An elliptical Gaussian.

    Parameters
    ----------
    sigma
        Geometric mean of the two standard deviations, in pixels.
    ellipticity
        (e1, e2), positive e1 along x; axis ratio (1 - e) / (1 + e).
    """

    on_pixels = False
    sigma: Float[Array, ""]
    ellipticity: Float[Array, "2"]

    def transform(self, shape: tuple[int, int]) -> Complex[Array, "y x"]:
        k_y, k_x = (jnp.asarray(k, self.sigma.dtype) for k in wave_numbers(shape))
        k_squared = _stretched_wave_number_squared(k_y, k_x, self.sigma, self.ellipticity)
        return jnp.exp(-0.5 * k_squared).astype(jnp.result_type(k_squared, jnp.complex64))


class SersicProfile(AbstractMorphology):
    r"""The profile :math:`I(r) \propto \exp(-b_n r^{1/n})` of Sersic (1963).

    Parameters
    ----------
    half_light_radius
        Geometric mean of the semi-axes of the isophote that holds half the light, in pixels.
    sersic_index
        n, from 0.5 (Gaussian) over 1 (disk) and 4 (elliptical) to 6.
    ellipticity
        (e1, e2), positive e1 along x; axis ratio (1 - e) / (1 + e).
    """

    on_pixels = False
    half_light_radius: Float[Array, ""]
    sersic_index: Float[Array, ""]
    ellipticity: Float[Array, "2"]

    def transform(self, shape: tuple[int, int]) -> Complex[Array, "y x"]:
        k_y, k_x = (jnp.asarray(k, self.half_light_radius.dtype) for k in wave_numbers(shape))
        k_squared = _stretched_wave_number_squared(k_y, k_x, self.half_light_radius, self.ellipticity)
        table, indices, log_k = _sersic_table()
        row = (self.sersic_index - indices[0]) / (indices[1] - indices[0])
        tiny = np.exp(2 * log_k[0])  # below the table's first wave number the profile is a point
        column = (0.5 * jnp.log(k_squared + tiny) - log_k[0]) / (log_k[1] - log_k[0])
        value = interpolate_rows(jnp.asarray(table, k_squared.dtype), row, column)
        return value.astype(jnp.result_type(k_squared, jnp.complex64))


def sersic_transform(
    shape: tuple[int, int], half_light_radius: float, sersic_index: float, ellipticity: tuple[float, float]
) -> Float[np.ndarray, "y x"]:
    """Return the transform of a `SersicProfile` on the ``rfft2`` grid of ``shape``, in numpy."""
    table, indices, log_k = _sersic_table()
    k_y, k_x = wave_numbers(shape)
    k_squared = _stretched_wave_number_squared(k_y, k_x, half_light_radius, ellipticity)
    row = table[round((sersic_index - indices[0]) / (indices[1] - indices[0]))]
    return np.interp(0.5 * np.log(k_squared + np.exp(2 * log_k[0])), log_k, row)


@cache
def _sersic_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Fourier transforms of Sersic profiles, their indices, and the log wave numbers.

    Unit flux and half-light radius, by the fast Hankel transform in double precision; rows are Sersic
    indices, columns log wave numbers times the half-light radius.
    """
    indices = np.arange(0.5, 6.01, 0.125)
    log_r = np.linspace(np.log(1e-9), np.log(1e7), 8192)
    step = log_r[1] - log_r[0]
    r = np.exp(log_r)
    offset = scipy.fft.fhtoffset(step, mu=0)
    k = np.exp(offset) / r[::-1]
    log_k = np.linspace(np.log(1e-3), np.log(3e2), 512)
    rows = []
    for n in indices:
        b = scipy.special.gammaincinv(2 * n, 0.5)
        norm = 2 * np.pi * n * b ** (-2 * n) * scipy.special.gamma(2 * n)
        spectrum = scipy.fft.fht(r * np.exp(-b * r ** (1 / n)) / norm, step, mu=0, offset=offset)
        rows.append(np.interp(log_k, np.log(k), 2 * np.pi * spectrum / k))
    return np.stack(rows), indices, log_k
