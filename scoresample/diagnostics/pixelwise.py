"""R-hat and effective sample size of thousands of pixels at once.

`arviz_stats` takes one quantity at a time, some milliseconds each; the images of a scene have ten thousand.
The numbers here are the same.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.special
import scipy.stats
from jaxtyping import Float

BLOCK = 512  # pixels at a time, which bounds the memory


class PixelDiagnostics(NamedTuple):
    """Rank-normalized split R-hat, bulk and tail effective sample size of each pixel; NaN where undefined."""

    r_hat: Float[np.ndarray, " pixel"]
    ess_bulk: Float[np.ndarray, " pixel"]
    ess_tail: Float[np.ndarray, " pixel"]


def pixel_diagnostics(draws: Float[np.ndarray, "chain draw pixel"]) -> PixelDiagnostics:
    """Return diagnostics of every pixel of an image.

    NaN for a pixel that never moved or is not finite, for fewer than four draws, and R-hat for one chain.

    References
    ----------
    Vehtari et al. (2021), Bayesian Analysis 16, 667: rank-normalized split R-hat, bulk and tail ESS.
    """
    blocks = [_block(draws[:, :, i : i + BLOCK]) for i in range(0, draws.shape[2], BLOCK)]
    return PixelDiagnostics(*map(np.concatenate, zip(*blocks, strict=True)))


def _block(draws: np.ndarray) -> PixelDiagnostics:
    num_chains, num_draws, num_pixels = draws.shape
    nan = np.full(num_pixels, np.nan)
    usable = np.isfinite(draws).all(axis=(0, 1)) & (np.ptp(draws, axis=(0, 1)) > 0 if draws.size else False)
    if num_draws < 4 or not usable.any():
        return PixelDiagnostics(nan, nan, nan)
    kept = np.asarray(draws[:, :, usable], np.float64)
    halves = _split(kept)
    ranked = _normal_scores(halves)
    low, high = np.quantile(kept, [0.05, 0.95], axis=(0, 1))
    tails = np.minimum(_ess(_split(kept <= low)), _ess(_split(kept <= high)))
    folded = _normal_scores(np.abs(halves - np.median(halves, axis=(0, 1))))
    r_hat = np.maximum(_r_hat(ranked), _r_hat(folded)) if num_chains > 1 else np.nan
    found = [nan.copy(), nan.copy(), nan.copy()]
    for out, values in zip(found, (r_hat, _ess(ranked), tails), strict=True):
        out[usable] = values
    return PixelDiagnostics(*found)


def _split(draws: np.ndarray) -> np.ndarray:
    """Return the first and the second half of each chain as chains."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _normal_scores(chains: np.ndarray) -> np.ndarray:
    """Replace each draw by the normal quantile of its rank among all draws of its pixel."""
    flat = chains.reshape(-1, chains.shape[2])
    ranks = scipy.stats.rankdata(flat, axis=0)
    return scipy.special.ndtri((ranks - 0.375) / (len(flat) + 0.25)).reshape(chains.shape)


def _r_hat(chains: np.ndarray) -> np.ndarray:
    num_draws = chains.shape[1]
    within = chains.var(axis=1, ddof=1).mean(axis=0)
    between = chains.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # two values only: their fold is constant
        return np.sqrt(between / within + (num_draws - 1) / num_draws)


def _ess(chains: np.ndarray) -> np.ndarray:
    r"""Return :math:`n / \tau` with Geyer's initial monotone sequence of autocorrelations."""
    num_chains, num_draws, _ = chains.shape
    covariance = _autocovariance(chains)
    within = covariance[0] * num_draws / (num_draws - 1)
    total = covariance[0] + (chains.mean(axis=1).var(axis=0, ddof=1) if num_chains > 1 else 0.0)
    constant = total <= 0
    correlation = 1 - (within - covariance) / np.where(constant, 1.0, total)
    correlation[0] = 1.0
    even = correlation[0 : num_draws - 1 : 2]
    pairs = even + correlation[1:num_draws:2]
    positive = np.cumprod(pairs > 0, axis=0).astype(bool)
    positive[max(0, (num_draws - 3) // 2) :] = False  # as arviz_stats: the last lags are too noisy to use
    monotone = np.minimum.accumulate(pairs, axis=0)
    first_out = positive.sum(axis=0)  # Geyer's sequence ends here, but its even term may still count
    last = np.take_along_axis(even, first_out[None], axis=0)[0]
    tau = -1 + 2 * np.sum(monotone * positive, axis=0) + np.maximum(last, 0)
    size = num_chains * num_draws
    return np.where(constant, size, size / np.maximum(tau, 1 / np.log10(size)))


def _autocovariance(chains: np.ndarray) -> np.ndarray:
    """Return the autocovariance at every lag, averaged over chains."""
    num_draws = chains.shape[1]
    centered = chains - chains.mean(axis=1, keepdims=True)
    length = scipy.fft.next_fast_len(2 * num_draws, real=True)
    power = np.abs(scipy.fft.rfft(centered, n=length, axis=1)) ** 2
    return scipy.fft.irfft(power.mean(axis=0), n=length, axis=0)[:num_draws] / num_draws
