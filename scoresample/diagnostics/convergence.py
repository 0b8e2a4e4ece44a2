"""How well chains have mixed: one row for each quantity, worst pixels for images."""

import jax
import numpy as np
import pandas as pd
from arviz_stats.base import array_stats
from jaxtyping import Bool, Float

from scoresample.density.posterior import OFFSETS, Posterior
from scoresample.diagnostics.pixelwise import pixel_diagnostics
from scoresample.numerics.trees import named_leaves
from scoresample.samplers.base import Draws

COLUMNS = ("kind", "mean", "sd", "mcse_mean", "r_hat", "ess_bulk", "ess_tail", "problem")


def convergence_table(draws: Draws) -> pd.DataFrame:
    """Return mean, spread and mixing of every quantity.

    Parameters
    ----------
    draws
        From `sample`.

    Returns
    -------
    One row for each flux, background, free number and log_prob; one for each image, which holds its worst
    pixels. A flux in a band without data has no row. For a density that is no scene every number of the
    position has a row. Columns:

    - ``kind``: flux, background, parameter, image or log_prob;
    - ``mean``, ``sd``; ``mcse_mean``, the Monte-Carlo standard error of the mean;
    - ``r_hat``: rank-normalized split R-hat (arviz_stats), NaN for one chain;
    - ``ess_bulk``, ``ess_tail``: effective number of draws for the center, and for the 5 % and 95 % quantiles;
    - ``problem``: why these could not be computed ("too few draws", "not finite", "constant"), else "".

    References
    ----------
    Vehtari et al. (2021), Bayesian Analysis 16, 667.
    """
    rows = {}
    if isinstance(draws.density, Posterior):
        rows |= _amplitude_rows(draws, draws.density)
    for name, values in named_leaves(draws.position).items():
        rows |= _parameter_rows(name, values, draws)
    if "log_prob" in draws.stats:
        rows["log_prob"] = _summary("log_prob", np.asarray(draws.stats["log_prob"]))
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))
    table.index.name = "quantity"
    return table


def chain_shape(draws: Draws) -> tuple[int, int]:
    """Return the number of chains and of draws in each."""
    first = jax.tree.leaves((draws.position, draws.derived, draws.stats))[0]
    return first.shape[0], first.shape[1]


def flux_row(object_name: str, band: str) -> str:
    """Return the name of the row of one flux in the table."""
    return f"flux[{object_name}, {band}]"


def unseen_fluxes(posterior: Posterior) -> Bool[np.ndarray, "object band"]:
    """Return which fluxes have a component that no pixel with data knows of."""
    likelihood = posterior.likelihood
    membership = np.asarray(likelihood.membership)
    unseen = np.asarray(likelihood.unseen).T[: len(membership)]
    return np.stack([unseen[membership == k].any(axis=0) for k in range(membership.max() + 1)])


def energy_bfmi(draws: Draws) -> Float[np.ndarray, " chain"]:
    r"""Return the estimated Bayesian fraction of missing information of each chain.

    .. math:: \sum_i (E_i - E_{i-1})^2 / \sum_i (E_i - \bar E)^2

    Below 0.3 the momentum refreshes too little of the energy to reach the tails. NaN where it is undefined;
    empty for samplers without an energy.

    References
    ----------
    Betancourt (2016), arXiv:1604.00695.
    """
    if "energy" not in draws.stats:
        return np.zeros(0)
    energy = np.asarray(draws.stats["energy"], np.float64)
    out = np.full(len(energy), np.nan)
    if energy.shape[1] >= 4:
        usable = np.isfinite(energy).all(axis=1) & (np.ptp(energy, axis=1) > 0)
        if usable.any():
            out[usable] = array_stats.bfmi(energy[usable])
    return out


def num_divergences(draws: Draws) -> int:
    """Return the number of draws whose trajectory diverged; 0 for samplers that cannot tell."""
    return int(np.sum(np.asarray(draws.stats.get("diverging", False))))


def _amplitude_rows(draws: Draws, posterior: Posterior) -> dict[str, tuple]:
    bands, rows = posterior.observation.frame.bands, {}
    flux, unseen = np.asarray(draws.derived["flux"]), unseen_fluxes(posterior)
    for k, name in enumerate(posterior.scene.objects):
        for b, band in enumerate(bands):
            if not unseen[k, b]:
                rows[flux_row(name, band)] = _summary("flux", flux[:, :, k, b])
    if "background" in draws.derived:
        background, dark = (
            np.asarray(draws.derived["background"]),
            np.asarray(posterior.likelihood.unseen)[:, -1],
        )
        for b, band in enumerate(bands):
            if not dark[b]:
                rows[f"background[{band}]"] = _summary("background", background[:, :, b])
    return rows


def _parameter_rows(name: str, values: np.ndarray, draws: Draws) -> dict[str, tuple]:
    """Return rows of one leaf of the position; fluxes, and offsets that stand for them, have theirs by object."""
    kind = name.rpartition(".")[2]
    is_scene = isinstance(draws.density, Posterior)
    if is_scene and kind in ("flux", "background", OFFSETS):
        return {}
    if is_scene and kind == "image":
        return {f"{name} (worst of {np.prod(values.shape[2:])})": _worst_pixels(values)}
    rows = {}
    for index in np.ndindex(values.shape[2:]):
        text = "yx"[index[0]] if is_scene and kind == "center" else ", ".join(map(str, index))
        rows[f"{name}[{text}]" if index else name] = _summary("parameter", values[(..., *index)])
    return rows


def _summary(kind: str, values: Float[np.ndarray, "chain draw"]) -> tuple:
    """Return one row of the table."""
    # In one order in memory: sums, and the ranks of near ties, then do not depend on where draws come from.
    values, nan = np.ascontiguousarray(values, np.float64), np.nan
    if values.size == 0 or not np.isfinite(values).all():
        return (kind, nan, nan, nan, nan, nan, nan, "not finite" if values.size else "too few draws")
    mean, sd = values.mean(), values.std(ddof=1) if values.size > 1 else nan
    if values.shape[1] < 4:
        return (kind, mean, sd, nan, nan, nan, nan, "too few draws")
    if np.ptp(values) == 0:
        return (kind, mean, 0.0, nan, nan, nan, nan, "constant")
    unit = (values - mean) / sd  # arviz_stats takes a range below 1e-15, in whatever unit, for a constant
    r_hat = float(array_stats.rhat(unit)) if len(values) > 1 else nan
    bulk = float(array_stats.ess(unit, method="bulk"))
    tail = float(array_stats.ess(unit, method="tail", prob=(0.05, 0.95)))
    return (kind, mean, sd, sd * float(array_stats.mcse(unit)), r_hat, bulk, tail, "")


def _worst_pixels(values: Float[np.ndarray, "chain draw *shape"]) -> tuple:
    """Return the row of an image: the largest R-hat and the smallest effective sizes of its pixels."""
    nan, shape = np.nan, values.shape
    if values.size == 0 or shape[1] < 4:
        return ("image", nan, nan, nan, nan, nan, nan, "too few draws")
    pixels = pixel_diagnostics(values.reshape(*shape[:2], -1))
    problem = ""
    if not np.isfinite(values).all():
        problem = "not finite"
    elif np.isnan(pixels.ess_bulk).any():
        problem = "constant"
    r_hat = nan if np.isnan(pixels.r_hat).all() else np.nanmax(pixels.r_hat)
    smallest = [nan if np.isnan(ess).all() else np.nanmin(ess) for ess in (pixels.ess_bulk, pixels.ess_tail)]
    return ("image", nan, nan, nan, float(r_hat), *map(float, smallest), problem)
