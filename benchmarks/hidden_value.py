"""One scene, one prior: sampled by the value of its density, and by its score alone.

    python -m benchmarks.hidden_value hsc_cosmos_35.npz                    hidden_value.csv; three hours on a core
    python -m benchmarks.hidden_value hsc_cosmos_35.npz --prior profile    hidden_value_profile.csv; half an hour
    python -m benchmarks.hidden_value hsc_cosmos_35.npz --prior profile --table    how the others differ from the first

By default the prior is the network `galaxies`. Scenes show its images with noise, as they do with a network of which
only the score is known. `value 0` is what a prior does to HMC that has a score and claims a log density of 0.
`annealed` goes down the noise levels of the prior in the first half of the warm-up, and ends with accepted or
rejected moves at the lowest. With `profile` what is hidden is the value of the whole posterior, of likelihood and
prior: energies are the work of its score. That prior has one noise level, and no method but the first two.
"""

import argparse
import dataclasses
import pathlib
import time

import jax
import numpy as np
import pandas as pd
from arviz_stats.base import array_stats

import scoresample as ss
from scoresample.models.learned_prior import LearnedPrior
from scoresample.samplers.base import AbstractKernel
from scoresample.samplers.energies import Quadrature

STORED = {
    "galaxies": pathlib.Path(__file__).parent / "hidden_value.csv",
    "profile": pathlib.Path(__file__).parent / "hidden_value_profile.csv",
}


class ValueZero(ss.HMC):
    """The leapfrog of a score whose prior claims that its log density is 0."""

    @property
    def rule(self):
        return Quadrature(0.0, (), ())


METHODS: dict[str, tuple[AbstractKernel, bool, int, int]] = {
    "value": (ss.HMC(), True, 150, 1000),
    "score alone": (ss.HMC(), False, 150, 1000),
    "value 0": (ValueZero(), False, 150, 100),
    "annealed": (ss.AnnealedLangevin(), True, 400, 2000),
}
"""Sampler, whether it is told the value, steps of warm-up, draws."""

OF_PROFILE = {name: METHODS[name] for name in ("value", "score alone")}


def hidden(prior: LearnedPrior, scene: ss.Scene) -> dict[str, ss.ScorePrior]:
    """Return the prior of the image of each source, as a score alone."""
    free = [source for source in scene.sources if f"{source.name}.image" in scene.parameters]
    level = prior.noise_level
    of_shape = {s.shape: ss.ScorePrior(prior.score, s.shape, noise_level=level) for s in free}
    return {f"{source.name}.image": of_shape[source.shape] for source in free}


def problem(path: str, name: str):
    """Return the posterior of a scene whose value is told, and that which hides it, and what is done with them."""
    observation, catalog = ss.read_observation(path), ss.read_catalog(path)
    prior = ss.load_prior(name, hides_noise=False)
    scene = ss.initialize_scene(observation, catalog, prior=prior)
    told = ss.Posterior(scene, observation, image=prior)
    if name == "profile":
        return {True: told, False: told}, OF_PROFILE
    return {True: told, False: ss.Posterior(scene, observation, priors=hidden(prior, scene))}, METHODS


def measure(method: str, posterior: ss.Posterior, start) -> list[dict]:
    """Return a row for each flux: mean and standard deviation, with their Monte-Carlo errors."""
    sampler, by_value, num_warmup, num_draws = METHODS[method]
    if not by_value and posterior.has_log_prob:
        sampler = dataclasses.replace(sampler, energy="line_integral")
    begun = time.perf_counter()
    draws = ss.sample(
        jax.random.key(11 + list(METHODS).index(method)), posterior, sampler, start=start, num_warmup=num_warmup,
        num_draws=num_draws, progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    print(
        f"{method}: {draws.status} after {seconds:.0f} s, step size {draws.settings['step_size']}", flush=True
    )
    flux, rows = np.asarray(draws.derived["flux"], float), []
    if not flux.size:  # warm-up already came to an end
        return []
    about = {"status": draws.status, "step_size": draws.settings["step_size"], "seconds": seconds}
    for k, name in enumerate(posterior.scene.objects):
        for b, band in enumerate(posterior.observation.frame.bands):
            x = flux[:, :, k, b]
            found = {"mean": x.mean(), "sd": x.std(ddof=1)}
            found |= {f"{of}_error": float(array_stats.mcse(x, method=of)) for of in ("mean", "sd")}
            found |= {"ess": float(array_stats.ess(x)), "r_hat": float(array_stats.rhat(x))}
            rows.append({"method": method, "object": name, "band": band, **found, **about})
    return rows


def compare(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how far means and sds of each method are from those by value: in Monte-Carlo errors, and in sds."""
    at = rows.set_index(["method", "object", "band"])
    exact, found = at.loc["value"], []
    for method in METHODS:
        if method == "value" or method not in at.index:
            continue
        one = at.loc[method]
        row = {"method": method}
        for what in ("mean", "sd"):
            off = one[what] - exact[what]
            error = np.sqrt(one[f"{what}_error"] ** 2 + exact[f"{what}_error"] ** 2)
            row |= {
                f"{what}, errors rms": np.sqrt(np.mean((off / error) ** 2)),
                f"{what}, errors largest": (off / error).abs().max(),
                f"{what}, sds rms": np.sqrt(np.mean((off / exact["sd"]) ** 2)),
            }
        found.append(row)
    return pd.DataFrame(found).set_index("method")


def table(rows: pd.DataFrame) -> str:
    """Return the comparison in Markdown."""
    lines = [
        "| method | step size | largest R-hat, smallest ESS | means off: rms and largest error, rms in sds | sds off |",
        "|---|---|---|---|---|",
    ]
    found = compare(rows)
    for method, some in rows.groupby("method", sort=False):
        cells = ["", ""]
        if method in found.index:
            one = found.loc[method]
            cells = [
                f"{one[f'{w}, errors rms']:.2f}, {one[f'{w}, errors largest']:.1f}; {one[f'{w}, sds rms']:.3f}"
                for w in ("mean", "sd")
            ]
        lines.append(
            f"| {method} | {some['step_size'].iloc[0]:.3g} | {some['r_hat'].max():.3f}, {some['ess'].min():.0f} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join(lines)


def main(arguments=None):
    """Measure the methods that are not in the file yet; or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene")
    parser.add_argument("--prior", choices=STORED, default="galaxies")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args(arguments)
    output = options.output or STORED[options.prior]
    rows = pd.read_csv(output).to_dict("records") if output.exists() else []
    if options.table:
        print(table(pd.DataFrame(rows)))
        return
    told, methods = problem(options.scene, options.prior)
    best = ss.find_map(told[True], progress=False)
    print("MAP", best.status, flush=True)
    for method, (_, by_value, *_) in methods.items():
        if method in {row["method"] for row in rows}:
            continue
        rows += measure(method, told[by_value], best.position)
        pd.DataFrame(rows).to_csv(output, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
