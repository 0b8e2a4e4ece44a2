"""Calibration with the learned prior, by its value and by its score alone, of truths that are draws of a posterior.

    python -m benchmarks.posterior_calibration            writes posterior_calibration.csv, half a minute a scene
    python -m benchmarks.posterior_calibration --table    prints the table of docs/sampling.md from it

Calibration by simulation needs truths that are draws of the prior. Those of a network's energy are no more exact than
the reverse diffusion that they come from. What Bayes' rule says of the prior it says of any distribution: so a first,
noisy observation Y0 of a scene of two overlapping galaxies and a star is made, and truths are draws of p(x | Y0). Each
is observed once more, and where sampling is right its rank among draws of p(x | Y0, Y) is uniform (Saeilynoja, Schmitt,
Buerkner & Vehtari 2025, arXiv:2502.03279). Y0 and Y together are their weighted mean, with the sum of their weights.

Scenes show images with the noise of the prior here, as they do with a network of which only the score is known.
"""

import argparse
import pathlib

import jax
import numpy as np
import pandas as pd

import scoresample as ss
from benchmarks import calibration
from scoresample.diagnostics.coverage import uniformity
from scoresample.diagnostics.simulation import draw_truth, observe, quantities, with_images
from scoresample.models.learned_prior import LearnedPrior
from scoresample.models.priors import AbstractPrior
from scoresample.numerics.spread import spread_indices
from scoresample.products.calibration_scene import score_scene

STORED = pathlib.Path(__file__).parent / "posterior_calibration.csv"
PATHS = ("value", "score alone")
FIRST_WEIGHT, SECOND_WEIGHT = 0.25, 1.0
NUM_SCENES = 64
LEAST = np.array([0.0, 0.0, -np.inf])
LEAST_ESS = 100
"""Of every flux; where 4 x 200 draws have less, chains go on."""


def told(path: str, prior: LearnedPrior) -> AbstractPrior:
    """Return a prior as samplers are told of it."""
    box = calibration.BOX, calibration.BOX
    return prior if path == "value" else ss.ScorePrior(prior.score, box, noise_level=prior.noise_level)


def first_draws(prior: LearnedPrior) -> tuple[ss.Draws, np.ndarray]:
    """Return draws given a first observation, and that observation."""
    model = calibration.make_model(prior, FIRST_WEIGHT)
    keys = jax.random.split(jax.random.key(20), 3)
    first = observe(keys[1], model, draw_truth(keys[0], model, LEAST).images)
    posterior = with_images(model, first)
    best = ss.find_map(posterior, progress=False)
    draws = ss.sample(
        keys[2], posterior, ss.HMC(), start=best.position, num_warmup=200, num_draws=800, progress=False
    )
    return draws, first


def observe_again(seed: int, draws: ss.Draws, first: np.ndarray, second: ss.Posterior):
    """Return the exact quantities of one of some draws, and both observations of it together."""
    key_flux, key_noise = jax.random.split(jax.random.fold_in(jax.random.key(21), seed))
    posterior, (num_chains, num_draws) = draws.density, draws.derived["flux"].shape[:2]
    chain, index = seed % num_chains, spread_indices(num_draws, NUM_SCENES)[seed]
    truth = {name: leaf[chain, index] for name, leaf in draws.position.items()}
    columns = posterior.columns(posterior.values(truth))
    amplitudes = posterior.draw_amplitudes(key_flux, columns, truth)
    exact = quantities(posterior.for_compilation(), truth, amplitudes)
    images = np.einsum("bk,kbp->bp", amplitudes, columns).reshape(first.shape)
    again = observe(key_noise, second, images)
    both = (FIRST_WEIGHT * first + SECOND_WEIGHT * again) / (FIRST_WEIGHT + SECOND_WEIGHT)
    return {name: np.asarray(value, np.float64) for name, value in exact.items()}, both


def rank_scene(
    seed: int, draws: ss.Draws, first: np.ndarray, models: dict[str, ss.Posterior], paths
) -> list[dict]:
    """Observe one of some draws once more, and return rows: how it ranks among draws given both observations."""
    exact, both = observe_again(seed, draws, first, models["second"])
    best, rows = ss.find_map(with_images(models["value"], both), progress=False), []
    for path in paths:
        key_sample, key_rank = jax.random.split(
            jax.random.fold_in(jax.random.key(22 + PATHS.index(path)), seed)
        )
        found = ss.sample(
            key_sample, with_images(models[path], both), ss.HMC(), start=best.position, num_warmup=100, num_draws=200,
            max_draws=2000, enough=_are_enough, progress=False,
        )  # fmt: skip
        assert found.settings["sampler"]["energy"] == ("log_prob" if path == "value" else "line_integral")
        rows.append({"seed": seed, "path": path} | _row(key_rank, exact, found))
    return rows


def _are_enough(draws: ss.Draws) -> bool:
    table = ss.diagnose(draws, audited=False).table
    return table.loc[table["kind"] == "flux", ["ess_bulk", "ess_tail"]].min(axis=None) >= LEAST_ESS


def _row(key, exact, found: ss.Draws) -> dict[str, float]:
    uniform = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    right = score_scene(uniform, exact, found, LEAST)
    wrong = score_scene(uniform, exact, calibration.narrowed(found), LEAST)
    row = {name: right[name] for name in ("kept", "r_hat", "ess")} | right["others"]
    for one, other in zip(right["fluxes"], wrong["fluxes"], strict=True):
        label = f"flux[{one['object']}, {one['band']}]"
        row |= {label: one["pit"], f"narrow {label}": other["pit"]}
    return row


def table(rows: pd.DataFrame) -> str:
    """Return what the ranks say, in Markdown."""
    lines = [
        "| path | scenes | 68, 95 % intervals hold | tests | smallest p | largest R-hat, smallest ESS |",
        "|---|---|---|---|---|---|",
    ]
    for path, some in rows.groupby("path", sort=False):
        names = [name for name in some if "[" in name and not name.startswith("narrow")]
        for what, chosen in (
            (path, names),
            ("control: errors 30 % too small", [n for n in some if n.startswith("narrow")]),
        ):
            ranks = some[[n for n in chosen if "flux" in n]].to_numpy()
            hold = ", ".join(f"{np.mean(np.abs(ranks - 0.5) < share / 2):.3f}" for share in (0.68, 0.95))
            p = min(uniformity(some[n].to_numpy()) for n in chosen)
            lines.append(
                f"| {what} | {len(some)} | {hold} | {len(chosen)} | {p:.2g} | {some['r_hat'].max():.3f}, "
                f"{some['ess'].min():.0f} |"
            )
    return "\n".join(lines)


def main(arguments=None):
    """Rank scenes that are not in the file yet, row by row; or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--scenes", type=int, default=NUM_SCENES)
    parser.add_argument("--output", type=pathlib.Path, default=STORED)
    options = parser.parse_args(arguments)
    rows = pd.read_csv(options.output).to_dict("records") if options.output.exists() else []
    if options.table:
        print(table(pd.DataFrame(rows)))
        return
    prior = ss.load_prior("galaxies", hides_noise=False)
    weight = FIRST_WEIGHT + SECOND_WEIGHT
    models = {path: calibration.make_model(told(path, prior), weight) for path in PATHS}
    models["second"] = calibration.make_model("gaussian", SECOND_WEIGHT)  # for its noise alone
    draws, first = first_draws(prior)
    print(f"given the first observation: R-hat {ss.diagnose(draws).table['r_hat'].max():.4f}", flush=True)
    for seed in range(options.scenes):
        paths = [path for path in PATHS if (seed, path) not in {(row["seed"], row["path"]) for row in rows}]
        if not paths:
            continue
        rows = sorted(rows + rank_scene(seed, draws, first, models, paths), key=lambda row: row["seed"])
        print(seed, *paths, flush=True)
        pd.DataFrame(rows).to_csv(options.output, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
