"""Samplers that know a part of the density by its score alone, against the same density and against known moments.

    python benchmarks/line_integral.py                    writes benchmarks/line_integral.csv; 15 minutes on 2 cores
    python benchmarks/line_integral.py --step-sizes 12    writes line_integral_steps.csv: step sizes of 12 warm-ups each
    python benchmarks/line_integral.py --table            prints the tables of docs/sampling.md from both

A row for each target, number of dimensions and method that is not in the file yet. Targets are products of many alike
factors, whose moments are known by quadrature or in closed form; deviations are means over all factors, in percent of
the standard deviation, with their Monte-Carlo errors. None is Gaussian: on Gaussians wrong rules are right.
"""

import argparse
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpyro.diagnostics import effective_sample_size

import scoresample as ss
from scoresample.samplers.energies import Quadrature

STORED = pathlib.Path(__file__).parent / "line_integral.csv"
STEPS_STORED = pathlib.Path(__file__).parent / "line_integral_steps.csv"
SIZES = (16, 256, 1024, 4096)
CHAINS = 8
COORDINATE_DRAWS = 2_400_000
"""Draws times factors: what the Monte-Carlo error is made of, and so fewer draws do in more dimensions."""

CURLS = (0.01, 0.05, 0.2)


class Target(NamedTuple):
    """A density in two parts, and the moments of its factors.

    Attributes
    ----------
    explicit, hidden
        Parts of the log density of a vector; of the second samplers may be told the score alone.
    factors
        Maps draws (..., n) to the factors' values (..., factor) that have the moments.
    mean, sd
        Of each factor, or of all.
    unit
        Of each coordinate.
    """

    explicit: Callable
    hidden: Callable
    factors: Callable
    mean: float | np.ndarray
    sd: float | np.ndarray
    unit: float | np.ndarray = 1.0


def by_quadrature(log_prob: Callable) -> tuple[float, float]:
    """Return mean and standard deviation of a density on the line."""
    x = np.linspace(-20, 20, 400_001)
    values = np.asarray(log_prob(x), float)
    weight = np.exp(values - values.max())
    mean = weight @ x / weight.sum()
    return mean, np.sqrt(weight @ (x - mean) ** 2 / weight.sum())


def log_normal(size: int, condition: float = 1.0) -> Target:
    """Logs of Gamma(2) variables, seen by a Gaussian likelihood; in units that differ by the root of ``condition``."""
    unit = np.geomspace(1, condition**-0.5, size)
    mean, sd = by_quadrature(lambda x: 2 * x - np.exp(x) - 0.5 * (x - 1) ** 2)
    hidden = lambda x: jnp.sum(2 * x / unit - jnp.exp(x / unit))
    return Target(lambda x: -0.5 * jnp.sum((x / unit - 1) ** 2), hidden, lambda x: x / unit, mean, sd, unit)


def banana(size: int) -> Target:
    """Pairs of a standard normal a, of which the density is known, and b, normal around a^2, of which the score is."""
    hidden = lambda x: -0.5 * jnp.sum((x[1::2] - x[::2] ** 2) ** 2)
    moments = np.array([0.0, 1.0]), np.array([1.0, 3**0.5])
    mean, sd = (np.tile(moment, size // 2) for moment in moments)
    return Target(lambda x: -0.5 * jnp.sum(x[::2] ** 2), hidden, lambda x: x, mean, sd)


def mixture(size: int) -> Target:
    """Mixtures of a narrow and a wide normal, 0.7 and 0.3, seen by a Gaussian likelihood."""

    def log_prior(x, exponential=jnp.exp, logarithm=jnp.log):
        narrow = 0.7 / 0.5 * exponential(-0.5 * (x / 0.5) ** 2)
        return logarithm(narrow + 0.3 / 1.5 * exponential(-0.5 * ((x - 2) / 1.5) ** 2) + 1e-30)

    mean, sd = by_quadrature(lambda x: log_prior(x, np.exp, np.log) - 0.5 * (x - 1) ** 2)
    return Target(
        lambda x: -0.5 * jnp.sum((x - 1) ** 2), lambda x: jnp.sum(log_prior(x)), lambda x: x, mean, sd
    )


def sparse(size: int) -> Target:
    """Pixels with a peaked prior of heavy tails, -2 sqrt(x^2 + 0.1), of which one in eight holds a star of 4 sigma."""
    data = np.where(np.arange(size) % 8 == 0, 4.0, 0.0)
    moments = {
        y: by_quadrature(lambda x, y=y: -2 * np.sqrt(x**2 + 0.1) - 0.5 * (x - y) ** 2) for y in (0.0, 4.0)
    }
    mean, sd = (np.array([moments[y][which] for y in data]) for which in (0, 1))
    hidden = lambda x: -2 * jnp.sum(jnp.sqrt(x**2 + 0.1))
    return Target(lambda x: -0.5 * jnp.sum((x - data) ** 2), hidden, lambda x: x, mean, sd)


TARGETS: dict[str, Callable[[int], Target]] = {
    "log-normal": log_normal,
    "log-normal, condition 5,000": lambda size: log_normal(size, 5000.0),
    "banana": banana,
    "mixture": mixture,
    "sparse": sparse,
}


class ValueZero(ss.NUTS):
    """What happens to the posterior where a prior claims that its log density is 0."""

    @property
    def rule(self):
        return Quadrature(0.0, (), ())


class Trapezoid(ss.NUTS):
    """The rule that costs nothing, and passes every test on Gaussians."""

    @property
    def rule(self):
        return Quadrature(0.5, (), ())


METHODS = {
    "NUTS, density": (ss.NUTS(), True),
    "NUTS, score": (ss.NUTS(), False),
    "HMC, density": (ss.HMC(integrator="leapfrog"), True),
    "HMC, score": (ss.HMC(integrator="leapfrog"), False),
    "NUTS, trapezoid": (Trapezoid(), False),
    "NUTS, value 0": (ValueZero(max_doublings=6), False),
}
CONTROLS = ("NUTS, trapezoid", "NUTS, value 0")
CONTROLLED_AT = 256


def density(target: Target, whole: bool, extra_score: Callable | None = None) -> ss.Density:
    """Return what a sampler is told: both parts, or the first and the score of the second."""
    if whole:
        return ss.Density(log_prob=lambda x: target.explicit(x) + target.hidden(x))
    score = jax.grad(target.hidden)
    if extra_score is None:
        return ss.Density(log_prob=target.explicit, score=score)
    return ss.Density(log_prob=target.explicit, score=lambda x: score(x) + extra_score(x))


def measure(draws: ss.Draws, target: Target) -> dict[str, float]:
    """Return deviations of mean and standard deviation over all factors, percent of the latter, with their errors."""
    x = (np.asarray(target.factors(draws.position), float) - target.mean) / target.sd
    found = {}
    for name, values, share in (("mean", x, 1.0), ("sd", x**2 - 1, 0.5)):
        ess = np.minimum(effective_sample_size(values), values.shape[0] * values.shape[1])
        error = values.std(axis=(0, 1)) / np.sqrt(ess)
        found[name] = 100 * share * values.mean()
        found[f"{name}_error"] = 100 * share * np.sqrt(np.mean(error**2) / values.shape[2])
    return found | {
        "step_size": draws.settings["step_size"],
        "acceptance": float(np.mean(draws.stats["acceptance_rate"])),
        "steps": float(np.mean(draws.stats["num_steps"])),
        "divergent": float(np.mean(draws.stats["diverging"])),
    }


def run(key, target: Target, told: ss.Density, sampler, size: int, num_draws: int) -> ss.Draws:
    """Return draws, from starts spread around the mean."""
    spread = np.random.default_rng(0).normal(size=(CHAINS, size))
    starts = list((0.5 * target.unit * spread).astype(jnp.result_type(float)))
    draws = ss.sample(
        key, told, sampler, start=starts, num_chains=CHAINS, num_warmup=500, num_draws=num_draws, progress=False
    )  # fmt: skip
    assert draws.status == "done", draws.status
    return draws


def compare(name: str, size: int, method: str, coordinate_draws: int = COORDINATE_DRAWS) -> dict:
    """Return a row: how one method does on one target."""
    target = TARGETS[name](size)
    sampler, whole = METHODS[method]
    num_draws = max(250, coordinate_draws // (CHAINS * size))
    if method == "NUTS, value 0":
        num_draws = 250  # it hardly moves
    began = time.perf_counter()
    draws = run(jax.random.key(1), target, density(target, whole), sampler, size, num_draws)
    row = {"target": name, "size": size, "method": method, "curl": 0.0, **measure(draws, target)}
    return row | {"seconds": time.perf_counter() - began}


def twisted(size: int, c: float) -> Callable:
    """Return c times the size of the Jacobian of the log-normal's hidden score, as a rotation of pairs."""
    target = log_normal(size)
    x = target.mean + target.sd * np.random.default_rng(2).normal(size=100_000)
    strength = c * np.sqrt(np.mean(np.exp(2 * x)))

    def rotate(x):
        return strength * jnp.stack([-x[1::2], x[::2]], axis=1).reshape(x.shape)

    return rotate


def with_curl(size: int, c: float, coordinate_draws: int = COORDINATE_DRAWS) -> dict:
    """Return a row: what a score with a known curl does, and what the audit says of it."""
    target = log_normal(size)
    told = density(target, False, twisted(size, c))
    began = time.perf_counter()
    draws = run(jax.random.key(1), target, told, ss.NUTS(), size, coordinate_draws // (CHAINS * size))
    found = ss.audit(told, draws)
    row = {"target": "log-normal", "size": size, "method": "NUTS, score", "curl": c, **measure(draws, target)}
    row |= {"read": found.curl, "read_error": found.curl_error, "loop_work": found.loop_work}
    return row | {"refinement": found.refinement, "seconds": time.perf_counter() - began}


def wanted() -> list[tuple]:
    """Return what identifies each row, in order."""
    rows = []
    for size in SIZES:
        for name in TARGETS:
            if "condition" in name and size != CONTROLLED_AT:
                continue
            methods = [m for m in METHODS if m not in CONTROLS or size == CONTROLLED_AT]
            rows += [(name, size, method, 0.0) for method in methods]
    return rows + [("log-normal", CONTROLLED_AT, "NUTS, score", c) for c in CURLS]


STEPS_OF = {
    "density": {"energy": "log_prob"},
    "score, Simpson": {},
    "score, Gauss-Legendre": {"quadrature": "gauss4"},
}
"""How the energies are known whose step sizes are compared: the last has next to no error of quadrature."""


def step_sizes(turns: int, output: pathlib.Path) -> None:
    """Store the step size that each warm-up ends with, and the acceptance of 50 draws, of turns not stored yet."""
    rows = pd.read_csv(output).to_dict("records") if output.exists() else []
    done = {(row["target"], row["sampler"], row["energy"], row["turn"]) for row in rows}
    for name, make in TARGETS.items():
        target = make(CONTROLLED_AT)
        for sampler in (ss.NUTS, ss.HMC):
            for energy, options in STEPS_OF.items():
                told = density(target, whole=energy == "density")
                kernel = sampler(integrator="leapfrog", **options)
                for turn in range(turns):
                    at = name, sampler.__name__, energy, turn
                    if at in done:
                        continue
                    draws = run(jax.random.key(100 + turn), target, told, kernel, CONTROLLED_AT, 50)
                    found = draws.settings["step_size"], float(np.mean(draws.stats["acceptance_rate"]))
                    names = "target", "sampler", "energy", "turn", "step_size", "acceptance"
                    rows.append(dict(zip(names, at + found, strict=True)))
                    pd.DataFrame(rows).to_csv(output, index=False, float_format="%.5g")


def step_size_table(rows: pd.DataFrame) -> str:
    """Return by how much step sizes by the score are larger than those by the density, in Markdown."""
    lines = ["| target | sampler | Simpson: step size, % | acceptance | Gauss-Legendre: step size, % | acceptance |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for (target, sampler), some in rows.groupby(["target", "sampler"], sort=False):
        cells = []
        of = {energy: part.sort_values("turn") for energy, part in some.groupby("energy")}
        for energy in list(STEPS_OF)[1:]:
            logs = [np.log(of[which]["step_size"].to_numpy()) for which in (energy, "density")]
            error = np.sqrt(sum(log.var(ddof=1) / log.size for log in logs))
            moved = [of[which]["acceptance"].mean() for which in (energy, "density")]
            cells += [
                f"{100 * (logs[0].mean() - logs[1].mean()):+.1f} +- {100 * error:.1f}",
                f"{moved[0]:.3f}, {moved[1]:.3f}",
            ]
        lines.append(f"| {target} | {sampler} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables(rows: pd.DataFrame) -> str:
    """Return the tables of the docs in Markdown."""
    off = lambda row: (
        f"{row['mean']:+.2f} +- {row['mean_error']:.2f} | {row['sd']:+.2f} +- {row['sd_error']:.2f}"
    )
    columns = "mean, % of sd | sd, %"
    lines = [f"| target | D | sampler | by the score: {columns} | by the density: {columns} | acceptance | step size |",
             "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    plain = rows[rows["curl"] == 0].set_index(["target", "size", "method"])
    plain = plain.loc[[at[:3] for at in wanted() if not at[3]]]
    for (target, size, method), row in plain.iterrows():
        if not method.endswith(", score"):
            continue
        sampler = method.split(",")[0]
        exact = plain.loc[(target, size, f"{sampler}, density")]
        lines.append(
            f"| {target} | {size:,} | {sampler} | {off(row)} | {off(exact)} | {row['acceptance']:.3f}, "
            f"{exact['acceptance']:.3f} | {row['step_size']:.3g}, {exact['step_size']:.3g} |"
        )
    lines += [
        "",
        f"| target | D | control | {columns} | step size | steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for (target, size, method), row in plain.iterrows():
        if method in CONTROLS:
            control = method.split(", ")[1]
            lines.append(
                f"| {target} | {size:,} | {control} | {off(row)} | {row['step_size']:.3g} | {row['steps']:.0f} |"
            )
    lines += ["", f"| curl added | audit reads | around loops, nats | {columns} | acceptance |",
              "|---|---|---|---|---|---|"]  # fmt: skip
    for _, row in rows[rows["curl"] > 0].iterrows():
        lines.append(
            f"| {100 * row['curl']:g} % | {row['read']:.3f} +- {row['read_error']:.3f} | {row['loop_work']:.1f} | "
            f"{off(row)} | {row['acceptance']:.3f} |"
        )
    return "\n".join(lines)


def main(arguments=None):
    """Measure what is not in the file yet, row by row; or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--step-sizes", type=int, metavar="TURNS")
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args(arguments)
    if options.step_sizes:
        return step_sizes(options.step_sizes, options.output or STEPS_STORED)
    options.output = options.output or STORED
    rows = pd.read_csv(options.output).to_dict("records") if options.output.exists() else []
    if options.table:
        print(tables(pd.DataFrame(rows)), step_size_table(pd.read_csv(STEPS_STORED)), sep="\n\n")
        return None
    done = {(row["target"], row["size"], row["method"], row["curl"]) for row in rows}
    for name, size, method, c in wanted():
        if (name, size, method, c) in done:
            continue
        rows.append(with_curl(size, c) if c else compare(name, size, method))
        shown = ("mean", "mean_error", "sd", "sd_error", "step_size", "acceptance", "steps", "seconds")
        print(name, size, method, c, *(f"{what} {rows[-1][what]:.3g}" for what in shown), flush=True)
        pd.DataFrame(rows).to_csv(options.output, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
