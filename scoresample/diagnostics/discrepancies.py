"""How far residuals are from noise: discrepancies of one band, and how often replicated data have larger ones."""

from typing import NamedTuple

import numpy as np
import scipy.signal
import scipy.stats
from jaxtyping import Bool, Float


class Discrepancy(NamedTuple):
    """A number for each draw, and how often data replicated from that draw have a larger one."""

    value: Float[np.ndarray, " draw"]
    larger: Float[np.ndarray, " draw"]

    @property
    def mean(self) -> float:
        """The posterior mean of the number."""
        return float(np.mean(self.value))

    @property
    def p_value(self) -> float:
        """The posterior predictive p-value, of one side."""
        return float(np.mean(self.larger))

    @property
    def p_two_sided(self) -> float:
        """Twice the smaller of the p-values of both sides."""
        return min(1.0, 2 * min(self.p_value, 1 - self.p_value))


def chi_square(residual: Float[np.ndarray, "draw pixel"]) -> Discrepancy:
    r"""Return the chi-square per pixel, :math:`\frac1N \sum r^2`, of residuals in units of the noise."""
    num = residual.shape[1]
    total = np.sum(residual**2, axis=1)
    return Discrepancy(total / num, scipy.stats.chi2(num).sf(total))


def largest(residual: Float[np.ndarray, "draw pixel"]) -> Discrepancy:
    r"""Return the largest absolute residual m; in replicated data it is larger with probability

    .. math:: 1 - (1 - 2 \Phi(-m))^N
    """
    most = np.abs(residual).max(axis=1)
    log_inside = residual.shape[1] * np.log1p(-2 * scipy.stats.norm.sf(most))
    return Discrepancy(most, -np.expm1(log_inside))


def neighbour_correlation(
    residual: Float[np.ndarray, "draw y x"], seen: Bool[np.ndarray, "y x"]
) -> Discrepancy:
    r"""Return the correlation of residuals of pixels that touch, :math:`\sum_{ij} r_i r_j / (P\, \overline{r^2})`.

    The sum is over the P pairs of pixels with data that share an edge. For noise it is normal with mean 0 and variance
    1/P, but for terms of higher order.
    """
    r = np.where(seen, residual, 0)
    products = np.sum(r[:, 1:] * r[:, :-1], axis=(1, 2)) + np.sum(r[:, :, 1:] * r[:, :, :-1], axis=(1, 2))
    pairs = int(np.sum(seen[1:] & seen[:-1]) + np.sum(seen[:, 1:] & seen[:, :-1]))
    if pairs == 0:
        return Discrepancy(np.full(len(r), np.nan), np.full(len(r), np.nan))
    value = products / pairs / (np.sum(r**2, axis=(1, 2)) / seen.sum())
    return Discrepancy(value, scipy.stats.norm.sf(value * np.sqrt(pairs)))


def autocorrelation(
    residual: Float[np.ndarray, "y x"], seen: Bool[np.ndarray, "y x"], reach: int
) -> Float[np.ndarray, "lag_y lag_x"]:
    """Return the correlation of pixels at every distance up to ``reach`` in y and x; NaN where no pair has data."""
    r, ones = np.where(seen, residual, 0), seen.astype(float)
    together = lambda image: scipy.signal.fftconvolve(image, image[::-1, ::-1])
    products, pairs = together(r), np.round(together(ones))
    middle = np.array(products.shape) // 2
    steps = np.minimum(reach, middle)
    part = tuple(slice(m - n, m + n + 1) for m, n in zip(middle, steps, strict=True))
    products, pairs = products[part], pairs[part]
    variance = np.sum(r**2) / max(seen.sum(), 1)
    usable = (pairs > 0) & (variance > 0)
    return np.divide(products, pairs * variance, where=usable, out=np.full(pairs.shape, np.nan))
