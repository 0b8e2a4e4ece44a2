"""Calibration with the learned prior, by its value and by its score alone, from truths that are draws of a posterior.

    python -m benchmarks.posterior_calibration            writes benchmarks/posterior_calibration.csv; a minute a scene
    python -m benchmarks.posterior_calibration --table    prints the table of docs/sampling.md from it

Calibration by simulation needs truths that are draws of the prior. Those of a network's energy are no more exact than
the reverse diffusion that they come from. What Bayes' rule says of the prior it says of any distribution: so a first,
noisy observation Y0 of a scene of two overlapping galaxies and a star is made, and truths are draws of p(x | Y0). Each
is observed once more, and where sampling is right its rank among draws of p(x | Y0, Y) is uniform (Saeilynoja, Schmitt,
Buerkner & Vehtari 2025, arXiv:2502.03279). Y0 and Y together are their weighted mean, with the sum of their weights.
"""

import argparse
import pathlib

import jax
import numpy as np
import pandas as pd

import scoresample as ss
from benchmarks import calibration
from scoresample.diagnostics.simulation import draw_truth, observe, quantities, with_images
from scoresample.numerics.spread import spread_indices
from scoresample.products.calibration_scene import score_scene

STORED = pathlib.Path(__file__).parent / "posterior_calibration.csv"
ENERGIES = ("log_prob", "line_integral")
FIRST_WEIGHT, SECOND_WEIGHT = 0.25, 1.0
NUM_SCENES = 64
LEAST = np.array([0.0, 0.0, -np.inf])
NARROW = 0.7


def first_draws(prior: str) -> tuple[ss.Draws, np.ndarray]:
    """Return draws given a first observation, and that observation."""
    model = calibration.make_model(prior, FIRST_WEIGHT)
    keys = jax.random.split(jax.random.key(20), 3)
    first = observe(keys[1], model, draw_truth(keys[0], model, LEAST).images)
    posterior = with_images(model, first)
    best = ss.find_map(posterior, progress=False)
    draws = ss.sample(
        keys[2], posterior, ss.HMC(energy="log_prob"), start=best.position, num_warmup=200, num_draws=800,
        progress=False,
    )  # fmt: skip
    return draws, first


def rank_scene(seed: int, energy: str, draws: ss.Draws, first: np.ndarray, prior: str) -> dict[str, float]:
    """Observe one of some draws once more, and return a row: how it ranks among draws given both observations."""
    key_flux, key_noise, key_sample, key_rank = jax.random.split(
        jax.random.fold_in(jax.random.key(21), seed), 4
    )
    chain = seed % draws.derived["flux"].shape[0]
    index = spread_indices(draws.derived["flux"].shape[1], NUM_SCENES)[seed]
    truth = {name: leaf[chain, index] for name, leaf in draws.position.items()}
    told = draws.density
    columns = told.columns(told.values(truth))
    amplitudes = told.draw_amplitudes(key_flux, columns, truth)
    exact = quantities(told.for_compilation(), truth, amplitudes)
    images = np.asarray(np.einsum("bk,kbp->bp", amplitudes, columns)).reshape(first.shape)
    again = observe(key_noise, calibration.make_model(prior, SECOND_WEIGHT), images)
    both = calibration.make_model(prior, FIRST_WEIGHT + SECOND_WEIGHT)
    mean = (FIRST_WEIGHT * first + SECOND_WEIGHT * again) / (FIRST_WEIGHT + SECOND_WEIGHT)
    posterior = with_images(both, mean)
    best = ss.find_map(posterior, progress=False)
    found = ss.sample(
        key_sample, posterior, ss.HMC(energy=energy), start=best.position, num_warmup=100, num_draws=200, progress=False
    )  # fmt: skip
    exact = {name: np.asarray(value, np.float64) for name, value in exact.items()}
    return {"seed": seed, "energy": energy} | _row(key_rank, exact, found)


def _row(key, exact, found: ss.Draws) -> dict[str, float]:
    uniform = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    right = score_scene(uniform, exact, found, LEAST)
    flux = found.derived["flux"]
    middle = flux.mean(axis=(0, 1))
    narrow = found._replace(derived=found.derived | {"flux": middle + NARROW * (flux - middle)})
    wrong = score_scene(uniform, exact, narrow, LEAST)
    row = {name: right[name] for name in ("kept", "r_hat", "ess")} | right["others"]
    for one, other in zip(right["fluxes"], wrong["fluxes"], strict=True):
        label = f"flux[{one['object']}, {one['band']}]"
        row |= {label: one["pit"], f"narrow {label}": other["pit"]}
    return row


def table(rows: pd.DataFrame) -> str:
    """Return what the ranks say, in Markdown."""
    from scoresample.diagnostics.coverage import uniformity

    lines = [
        "| energy | scenes | 68, 95 % intervals hold | tests | smallest p | largest R-hat, smallest ESS |",
        "|---|---|---|---|---|---|",
    ]
    for energy, some in rows.groupby("energy", sort=False):
        names = [name for name in some if "[" in name and not name.startswith("narrow")]
        for what, chosen in (
            (energy, names),
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
    parser.add_argument("--prior", default="galaxies")
    parser.add_argument("--output", type=pathlib.Path, default=STORED)
    options = parser.parse_args(arguments)
    rows = pd.read_csv(options.output).to_dict("records") if options.output.exists() else []
    if options.table:
        print(table(pd.DataFrame(rows)))
        return
    done = {(row["seed"], row["energy"]) for row in rows}
    draws, first = first_draws(options.prior)
    mixing = ss.diagnose(draws)
    print(f"given the first observation: R-hat {mixing.table['r_hat'].max():.4f}", flush=True)
    for seed in range(options.scenes):
        for energy in ENERGIES:
            if (seed, energy) in done:
                continue
            rows.append(rank_scene(seed, energy, draws, first, options.prior))
            print(*(f"{name} {rows[-1][name]}" for name in ("seed", "energy", "r_hat", "ess")), flush=True)
            pd.DataFrame(rows).to_csv(options.output, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
