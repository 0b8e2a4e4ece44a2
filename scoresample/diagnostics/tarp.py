"""Tests of accuracy with random points: whether many quantities together are right, correlations included."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from scoresample.diagnostics.coverage import uniformity

REACH = 0.5
"""How far the random point is from the posterior mean, in standard deviations of each quantity.

From far away all regions look like half-spaces: wrong widths and missed correlations then need more simulations.
"""

_LEVELS = np.linspace(0, 1, 21)


class Tarp(NamedTuple):
    """The outcome of the test over simulations.

    Attributes
    ----------
    level
        Credibility of regions.
    coverage
        How often regions of that level hold the truth; equal to ``level`` where the posterior is right.
    p_value
        Of `uniformity`, for the values that the curve is made from.
    """

    level: Float[np.ndarray, " level"]
    coverage: Float[np.ndarray, " level"]
    p_value: float


def tarp_value(
    truth: Float[np.ndarray, " quantity"],
    draws: Float[np.ndarray, "draw quantity"],
    uniform: np.random.Generator,
) -> float:
    r"""Return the credibility of the region around a random point that the truth lies on the edge of, in (0, 1).

    .. math:: \frac{\#\{d(\theta_i, \theta_r) < d(\theta, \theta_r)\} + v}{n + 1}, \qquad
              d(a, b)^2 = \sum_j (a_j - b_j)^2 / \sigma_j^2

    with v from U(0, 1). Every second draw is counted; the others give mean and standard deviation :math:`\sigma`, and
    the point is the mean plus half sigma times a standard normal vector, chosen without the truth, as the test needs
    it. Uniform over simulations where the posterior is right. Quantities that do not vary are left out.

    References
    ----------
    Lemos et al. (2023), ICML, arXiv:2302.03026, algorithm 2; one random point for each simulation.
    """
    center, scale = draws[::2].mean(axis=0), draws[::2].std(axis=0)
    point = uniform.normal(size=truth.shape)
    kept = scale > 0
    unit = lambda values: ((values - center)[..., kept] / scale[kept]) - REACH * point[kept]
    nearer = np.sum(unit(draws[1::2]) ** 2, axis=1) < np.sum(unit(truth) ** 2)
    return float((nearer.sum() + uniform.uniform()) / (len(nearer) + 1))


def tarp(values: Float[np.ndarray, " scene"]) -> Tarp:
    """Return the test's curve and p-value, from one `tarp_value` for each simulation."""
    if len(values) == 0:
        return Tarp(_LEVELS, np.full(_LEVELS.size, np.nan), np.nan)
    held = np.mean(values[:, None] <= _LEVELS, axis=0)
    return Tarp(_LEVELS, held, uniformity(values))
