"""One scene of a calibration: draw the truth, look at it, sample, and say where the truth stands among the draws."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.posterior import Position, Posterior
from scoresample.diagnostics.convergence import unseen_fluxes
from scoresample.diagnostics.coverage import crps, pit
from scoresample.diagnostics.simulation import draw_truth, observe, quantities, shapes, with_images
from scoresample.diagnostics.tarp import tarp_value
from scoresample.diagnostics.verdict import diagnose
from scoresample.numerics.spread import spread_indices
from scoresample.products.photometry import blendedness, mean_object_images
from scoresample.products.pipeline_draws import climb_alone, sample_around
from scoresample.products.pipeline_settings import RunSettings
from scoresample.samplers.base import Draws
from scoresample.samplers.endings import Deadline

NUM_RANKED = 63
"""Draws that a rank is among, spread over all: nearly independent, and ranks fall into 64 equal classes."""

_NUM_IMAGES, _BATCH = 16, 64


class Simulated(NamedTuple):
    """What is ranked of the truth, see `quantities`; how the climb ended; the draws; what makes ranks even."""

    exact: dict[str, Float[np.ndarray, "..."]]
    map_status: str
    draws: Draws
    uniform: np.random.Generator


def calibrate_scene(
    key: PRNGKeyArray,
    model: Posterior,
    settings: RunSettings,
    least: Float[np.ndarray, " source"],
    truth_from: Posterior,
) -> dict[str, Any]:
    """Simulate and sample one scene; return what is kept of it, as plain values. See `simulate_scene`."""
    found = simulate_scene(key, model, settings, least, truth_from)
    about = {"status": found.draws.status, "map": found.map_status}
    return about | score_scene(found.uniform, found.exact, found.draws, least)


def simulate_scene(
    key: PRNGKeyArray,
    model: Posterior,
    settings: RunSettings,
    least: Float[np.ndarray, " source"],
    truth_from: Posterior,
) -> Simulated:
    """Draw a truth, look at it, and sample.

    Parameters
    ----------
    key
        Decides truth, noise and draws.
    model
        What the sampler believes: priors, PSFs and weights. Its first values are where the climb begins.
    settings
        Of the run; ``seed`` plays no part.
    least
        See `diagnostics.simulation.least_light`.
    truth_from
        What truths, images and noise are drawn from: the model itself, for draws that have to be right.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C was pressed: a scene that is cut short is not a draw like the others.
    """
    key_truth, key_noise, key_sample, key_rank = jax.random.split(key, 4)
    truth = draw_truth(key_truth, truth_from, least)
    exact = quantities(truth_from.for_compilation(), truth.position, truth.amplitudes)
    posterior = with_images(model, observe(key_noise, truth_from, truth.images))
    deadline = Deadline(settings.max_seconds)
    best = climb_alone(posterior, settings, deadline)
    draws = sample_around(key_sample, posterior, settings, best.position, deadline)
    uniform = np.random.default_rng(np.asarray(jax.random.key_data(key_rank)))
    exact = {name: np.asarray(value, np.float64) for name, value in exact.items()}
    return Simulated(exact, best.status, draws, uniform)


def score_scene(
    uniform: np.random.Generator,
    exact: Mapping[str, Float[np.ndarray, "..."]],
    draws: Draws,
    least: Float[np.ndarray, " source"],
) -> dict[str, Any]:
    """Return how the truth of a scene stands among its draws; see `diagnostics.calibration` for what is in it."""
    posterior = draws.density
    flat = {name: jnp.asarray(leaf.reshape(-1, *leaf.shape[2:])) for name, leaf in draws.position.items()}
    found = {
        name: np.asarray(values) for name, values in _all_shapes(posterior.for_compilation(), flat).items()
    }
    for name in ("flux", "background"):
        if name in exact:
            found[name] = np.asarray(draws.derived[name]).reshape(-1, *exact[name].shape)
    kept = (found["light"] > least).all(axis=1)
    found = {name: values[kept].astype(np.float64) for name, values in found.items()}
    diagnosis = diagnose(draws)
    mixing = diagnosis.table[diagnosis.table["kind"] == "flux"]
    summary = {
        "converged": diagnosis.converged,
        "r_hat": float(mixing["r_hat"].max()),
        "ess": float(mixing[["ess_bulk", "ess_tail"]].min(axis=None, skipna=False) * kept.mean()),
        "draws": int(draws.settings["num_kept"]),
        "kept": float(kept.mean()),
    }
    if not kept.any():
        return summary | {"tarp": None, "fluxes": [], "others": {}}
    seen = ~unseen_fluxes(posterior)
    others = {}
    for name in sorted(set(exact) - {"flux"}):
        counted = np.isfinite(least) if name == "light" else np.ones(exact[name].shape, bool)
        for index in zip(*np.nonzero(counted), strict=True) if exact[name].ndim else [()]:
            label = f"{name}[{', '.join(map(str, index))}]" if index else name
            others[label] = pit(exact[name][index], found[name][(slice(None), *index)], uniform)
    return summary | {
        "tarp": tarp_value(exact["flux"][seen], found["flux"][:, seen], uniform),
        "fluxes": _fluxes(uniform, exact["flux"], found["flux"], seen, draws),
        "others": others,
    }


def _fluxes(uniform, exact, found, seen, draws: Draws) -> list[dict[str, Any]]:
    """Return a row for each flux that a pixel knows of."""
    posterior, rows = draws.density, []
    blended = blendedness(mean_object_images(draws, _NUM_IMAGES).objects)
    ranked = spread_indices(len(found), NUM_RANKED)
    for k, b in zip(*np.nonzero(seen), strict=True):
        truth, values = float(exact[k, b]), found[:, k, b]
        mean, sd = float(values.mean()), float(values.std(ddof=1 if len(values) > 1 else 0))
        score, expected = crps(truth, values)
        rows.append({
            "object": posterior.scene.objects[k],
            "band": posterior.observation.frame.bands[b],
            "truth": truth,
            "mean": mean,
            "sd": sd,
            "rank": int(np.sum(values[ranked] < truth)),
            "pit": pit(truth, values, uniform),
            "crps": score,
            "crps_expected": expected,
            "snr": mean / sd if sd > 0 else None,
            "blendedness": float(blended[k]),
        })  # fmt: skip
    return rows


@eqx.filter_jit
def _all_shapes(posterior: Posterior, positions: Position) -> dict[str, Float[Array, "draw ..."]]:
    return jax.lax.map(lambda position: shapes(posterior, position), positions, batch_size=_BATCH)
