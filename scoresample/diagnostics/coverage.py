"""Whether error bars hold the truth as often as they say: the numbers, from draws and truths of simulations."""

from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

LEVELS = (0.68, 0.95)
_NUM_BINS = 10


class Measured(NamedTuple):
    """A number, its standard error, and how likely one as far from the expected is where that is right."""

    value: float
    error: float
    p_value: float


def pit(
    truth: float | Float[np.ndarray, ""],
    draws: Float[np.ndarray, " draw"],
    uniform: np.random.Generator,
) -> float:
    r"""Return where a truth stands among draws, in (0, 1): its rank, spread evenly over its step.

    .. math:: \frac{\#\{\theta_i < \theta\} + v}{n + 1}, \qquad v \sim U(0, 1)

    Uniform, exactly, where the truth is a draw like any other. ``uniform`` gives v.

    References
    ----------
    Talts et al. (2018), arXiv:1804.06788: the rank; Dawid (1984), J. R. Stat. Soc. A 147, 278: the integral transform.
    """
    return float((np.sum(draws < truth) + uniform.uniform()) / (len(draws) + 1))


def crps(truth: float | Float[np.ndarray, ""], draws: Float[np.ndarray, " draw"]) -> tuple[float, float]:
    r"""Return the continuous ranked probability score of draws, and what it is on average where they are right.

    .. math:: E|X - \theta| - \tfrac12 E|X - X'|, \qquad \tfrac12 E|X - X'|

    with X and X' draws: in the unit of the quantity, smaller is better. The mean of the first over simulations exceeds
    that of the second where draws are too narrow, too wide or off.

    References
    ----------
    Gneiting & Raftery (2007), J. Am. Stat. Assoc. 102, 359, eq. 21. It is half the squared energy distance (scipy)
    between the draws and the truth.
    """
    score = 0.5 * scipy.stats.energy_distance(draws, [float(truth)]) ** 2
    return float(score), float(np.mean(np.abs(draws - truth)) - score)


def mean_over_scenes(
    values: Float[np.ndarray, "scene quantity"], expected: float, least_sd: float
) -> Measured:
    r"""Return the mean of values that are NaN where they do not count, compared with what is expected.

    Values of one scene go together: they have the noise in common. With :math:`d_s = \sum_q (v_{sq} - \bar v)` over the
    n values that count, the standard error is

    .. math:: \frac{1}{n} \sqrt{\frac{N}{N - 1} \sum_s d_s^2}

    of N scenes, but at least ``least_sd / sqrt(n)``, which is right for independent values of that standard deviation:
    few scenes may agree by chance. The p-value is that of Student's t with N - 1 degrees of freedom, two-sided. All NaN
    for fewer than two scenes.
    """
    counts = np.isfinite(values)
    num, scenes = counts.sum(), int(counts.any(axis=1).sum())
    if scenes < 2:
        return Measured(np.nan, np.nan, np.nan)
    mean = float(np.sum(values, where=counts) / num)
    together = np.sum(values - mean, axis=1, where=counts)
    error = np.sqrt(scenes / (scenes - 1) * np.sum(together**2)) / num
    error = float(max(error, least_sd / np.sqrt(num)))
    p_value = 2 * scipy.stats.t(scenes - 1).sf(abs(mean - expected) / error)
    return Measured(mean, error, float(p_value))


def coverage(pits: Float[np.ndarray, "scene quantity"], level: float) -> Measured:
    """Return how often the central interval of a level holds the truth; its error is at least the binomial one."""
    inside = np.where(np.isfinite(pits), np.abs(pits - 0.5) <= level / 2, np.nan)
    return mean_over_scenes(inside, level, np.sqrt(level * (1 - level)))


def pull_mean(pulls: Float[np.ndarray, "scene quantity"]) -> Measured:
    """Return the mean of (posterior mean - truth) / posterior sd; 0 is expected."""
    return mean_over_scenes(pulls, 0.0, 1.0)


def pull_width(pulls: Float[np.ndarray, "scene quantity"]) -> Measured:
    r"""Return the root mean square of the pulls; 1 is expected, whatever the shape of the posteriors.

    Given the data, truths scatter around the posterior mean by the posterior's own standard deviation. The error is
    that of the mean square, halved.
    """
    square = mean_over_scenes(pulls**2, 1.0, np.sqrt(2.0))
    width = np.sqrt(square.value)
    return Measured(float(width), float(square.error / (2 * width)), square.p_value)


def uniformity(pits: Float[np.ndarray, " scene"]) -> float:
    """Return the p-value that values in (0, 1), one for each scene, are uniform.

    The smallest of three, times three: counts in bins, for bumps; the distance of the cumulated values from a straight
    line (Kolmogorov-Smirnov), for shifts; and the sum of squares of their normal scores, for widths.
    """
    bins = int(np.clip(len(pits) // 5, 2, _NUM_BINS))
    counts, _ = np.histogram(pits, bins, (0, 1))
    scores = scipy.stats.norm.ppf(np.clip(pits, 1e-3, 1 - 1e-3))
    width = scipy.stats.chi2(len(pits)).cdf(np.sum(scores**2))
    three = (
        scipy.stats.chisquare(counts).pvalue,
        scipy.stats.kstest(pits, "uniform").pvalue,
        2 * min(width, 1 - width),
    )
    return float(min(1.0, 3 * min(three)))
