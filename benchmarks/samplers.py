"""Samplers side by side: effective draws for each gradient and each second, on scenes and on a target without scales.

    python benchmarks/samplers.py demo                          the shipped scene
    python benchmarks/samplers.py hsc_cosmos_35.npz             any scene file
    python benchmarks/samplers.py "log-normal, condition 5,000" a target of benchmarks/line_integral.py, 256 dimensions
    python benchmarks/samplers.py --table                       prints all that was measured

Quantities are the fluxes of a scene, or all coordinates of a target. Every sampler has its own warm-up of the same
length; gradients and CPU seconds are those of the draws after it, in compiled code, four chains side by side: chains
wait for the longest tree of NUTS, which only the seconds show. Gradients do not depend on what else the machine does,
and CPU seconds hardly. Rows are kept in `samplers.csv`.

Adjusted MCLMC (Robnik et al. 2025, arXiv:2503.01707) is blackjax's `adjusted_mclmc_dynamic` with its minimal-norm
integrator, in the same coordinates as the others, its step size found by the same warm-up at an acceptance of 0.9, and
lengths as random as those of HMC. It has no form for scores without a value.
"""

import argparse
import csv
import time
from pathlib import Path

import blackjax.mcmc.adjusted_mclmc_dynamic as adjusted_mclmc
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from blackjax.mcmc.dynamic_hmc import DynamicHMCState
from line_integral import TARGETS, density

import scoresample as ss
from scoresample.samplers.base import AbstractKernel
from scoresample.samplers.targets import flat_target

STORED = Path(__file__).parent / "samplers.csv"
CHAINS = 4
FIELDS = (
    "target", "sampler", "turn", "draws", "gradients per draw", "step size", "acceptance",
    "smallest ESS", "median ESS", "smallest tail ESS", "gradients", "CPU seconds", "largest R-hat",
)  # fmt: skip


class AdjustedMCLMC(AbstractKernel):
    """Microcanonical trajectories of random length, accepted or rejected."""

    uses_mass = True
    trajectory_length: float = eqx.field(static=True, default=1.5)
    target_acceptance: float = eqx.field(static=True, default=0.9)

    def target(self, density, whitening):
        return flat_target(density, whitening, by_value=True)

    def init(self, target, z):
        return DynamicHMCState(z, *target.start(z), jnp.zeros((), int))

    def step(self, key, shared, state, target, integrator, tuning):
        # Momenta are unit vectors: a standard normal of D dimensions turns once in about 2 pi sqrt(D).
        unit = jnp.sqrt(float(state.position.size))
        length = self.trajectory_length * jax.random.uniform(shared, (), minval=1 / 3, maxval=5 / 3)
        most = jnp.minimum(256, tuning.max_scores // 2)
        num_steps = jnp.clip(jnp.ceil(length / tuning.step_size), 1, most).astype(int)
        step_size = jnp.minimum(tuning.step_size, length / num_steps) * unit
        kernel = adjusted_mclmc.build_kernel(lambda arg, number: number, next_random_arg_fn=lambda arg: arg)
        state, info = kernel(
            key, state, target.log_prob, step_size, jnp.inf, tuning.inverse_mass, (num_steps,)
        )
        stats = {
            "acceptance_rate": info.acceptance_rate, "diverging": info.is_divergent,
            "log_prob": state.logdensity, "energy": -state.logdensity, "num_steps": 2 * num_steps,
        }  # fmt: skip
        return state, stats


SAMPLERS = {
    "NUTS": ss.NUTS(),
    "NUTS, two stages": ss.NUTS(integrator="two_stage"),
    "HMC": ss.HMC(integrator="leapfrog"),
    "HMC, two stages": ss.HMC(integrator="two_stage"),
    "HMC, two stages, up to 4 times as long": ss.HMC(integrator="two_stage", max_stretch=4.0),
    "HMC, two stages, acceptance 0.9": ss.HMC(integrator="two_stage", target_acceptance=0.9),
    "HMC, length 1.5": ss.HMC(trajectory_length=1.5, integrator="leapfrog"),
    "HMC, length 1.5, two stages": ss.HMC(trajectory_length=1.5, integrator="two_stage"),
    "adjusted MCLMC, length 1.5": AdjustedMCLMC(),
    "adjusted MCLMC, length 3": AdjustedMCLMC(trajectory_length=3.0),
}


def problem(name: str, prior: str):
    """Return a density, where chains begin, and what to look at of draws, (chain, draw, quantity)."""
    if name in TARGETS:
        return density(TARGETS[name](256), True), jnp.zeros(256), lambda draws: np.asarray(draws.position)
    observation, catalog = (
        ss.load_demo() if name == "demo" else (ss.read_observation(name), ss.read_catalog(name))
    )
    image = ss.load_prior(prior)
    scene = ss.initialize_scene(observation, catalog, prior=image)
    posterior = ss.Posterior(scene, observation, image=image)
    best = ss.find_map(posterior, progress=False)
    fluxes = lambda draws: np.asarray(draws.derived["flux"])
    return posterior, best.position, lambda draws: fluxes(draws).reshape(*fluxes(draws).shape[:2], -1)


def measure(what, sampler, num_warmup: int, num_draws: int, seed: int) -> dict:
    """Return what a sampler took and gave."""
    target, start, quantities = what
    looks = []  # the first look is after the first half of the draws, which compiles what has to be

    def enough(draws):
        looks.append((time.process_time(), draws.settings["num_kept"]))
        return False

    draws = ss.sample(
        jax.random.key(seed), target, sampler, start=start, num_chains=CHAINS, num_warmup=num_warmup,
        num_draws=num_draws // 2, max_draws=num_draws, enough=enough, progress=False,
    )  # fmt: skip
    (middle, kept), end = looks[0], time.process_time()
    values = quantities(draws).astype(float)
    columns = [values[:, :, k] for k in range(values.shape[2])]
    ess = [float(array_stats.ess(c, method="bulk")) for c in columns]
    tail = [float(array_stats.ess(c, method="tail", prob=(0.05, 0.95))) for c in columns]
    gradients = int(np.asarray(draws.stats["num_steps"]).sum())
    return {
        "draws": num_draws, "gradients per draw": gradients / num_draws / CHAINS,
        "step size": draws.settings["step_size"],
        "acceptance": float(np.mean(np.asarray(draws.stats["acceptance_rate"]))),
        "smallest ESS": min(ess), "median ESS": float(np.median(ess)), "smallest tail ESS": min(tail),
        "gradients": gradients, "CPU seconds": (end - middle) * num_draws / (num_draws - kept),
        "largest R-hat": max(float(array_stats.rhat(c)) for c in columns),
    }  # fmt: skip


def show(rows: list[dict]) -> None:
    """Print the means over turns in Markdown."""
    print(
        "| target | sampler | step size, acceptance | gradients a draw | ESS per 1,000 gradients: smallest, median, "
        "smallest tail | smallest ESS per CPU second | largest R-hat |\n|---|---|---|---|---|---|---|"
    )
    for target, sampler in dict.fromkeys((row["target"], row["sampler"]) for row in rows):
        mine = [row for row in rows if (row["target"], row["sampler"]) == (target, sampler)]
        means = {field: np.mean([float(row[field]) for row in mine]) for field in FIELDS[3:-2]}
        per = [
            np.mean([1e3 * float(row[f]) / float(row["gradients"]) for row in mine])
            for f in ("smallest ESS", "median ESS", "smallest tail ESS")
        ]
        timed = [row for row in mine if row["CPU seconds"]]
        rate = np.mean([float(row["smallest ESS"]) / float(row["CPU seconds"]) for row in timed] or [np.nan])
        print(
            f"| {target} | {sampler} | {means['step size']:.2f}, {means['acceptance']:.2f} | "
            f"{means['gradients per draw']:.1f} | {per[0]:.1f}, {per[1]:.1f}, {per[2]:.1f} | {rate:.2g} | "
            f"{max(float(row['largest R-hat']) for row in mine):.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="?")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--prior", default="gaussian")
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS), choices=list(SAMPLERS))
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--draws", type=int, default=400)
    options = parser.parse_args()
    rows = list(csv.DictReader(STORED.open())) if STORED.exists() else []
    if not options.table:
        what, name = problem(options.target, options.prior), Path(options.target).stem
        for turn in range(options.turns):
            for sampler in options.samplers:
                found = measure(what, SAMPLERS[sampler], options.warmup, options.draws, turn)
                rows = [
                    row for row in rows
                    if (row["target"], row["sampler"], int(row["turn"])) != (name, sampler, turn)
                ]  # fmt: skip
                rows.append({"target": name, "sampler": sampler, "turn": turn} | found)
                with STORED.open("w", newline="") as file:
                    writer = csv.DictWriter(file, FIELDS)
                    writer.writeheader()
                    writer.writerows(
                        {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
                    )
    show(rows)


if __name__ == "__main__":
    main()
