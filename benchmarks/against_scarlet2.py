"""Against scarlet2, side by side: gradients, the first MAP, flux draws per second.

    python3 -m venv S && S/bin/pip install scarlet2==0.5.1 'numpyro==0.21.*' galaxygrad
    python benchmarks/against_scarlet2.py hsc_cosmos_35.npz --scarlet2-python S/bin/python
    python benchmarks/against_scarlet2.py hsc_cosmos_35.npz --scarlet2-python S/bin/python --only gradients

With numpyro 0.22 scarlet2 0.5.1 counts the likelihood many times. Each side runs in processes of its own
(`scarlet2_side.py`, `scoresample_side.py`), in turns, so that what else the machine does falls on both. Ratios are
medians over turns; times are the best and the median, by the clock and of all cores together (CPU): the latter hardly
depend on what else runs. Prints tables in Markdown, and keeps what was measured in `against_scarlet2.json`.

Gradients are timed in compiled loops, as samplers take them, at the same images in boxes of 32 pixels and fluxes of
the same 7 sources. The published network has random weights of its layout, the same on both sides, read from one file
that galaxygrad's own code wrote: its weights are not on PyPI, and cost does not depend on them. Draws have the same
posterior: the Gaussian prior in u in our boxes, amplitudes flat, no background.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from arviz_stats.base import array_stats

from scoresample.products.pipeline_settings import RunSettings

HERE = Path(__file__).parent
SIDES = ("scoresample", "scarlet2")
GRADIENTS = {
    "likelihood at given fluxes": ("likelihood", "likelihood"),
    "and six published networks": ("mixer", "mixer"),
    "and six priors `galaxies`": ("galaxies", "mixer"),
    "and six Gaussian priors": ("gaussian", "mixer"),
    "fluxes integrated out": ("integrated", "likelihood"),
    "integrated out, and six published networks": ("integrated, mixer", "mixer"),
    "integrated out, and six priors `galaxies`": ("integrated, galaxies", "mixer"),
    "integrated out, and six Gaussian priors": ("integrated, gaussian", "mixer"),
}
"""What is timed, of scoresample and of scarlet2, which has neither fluxes integrated out nor such priors."""


class Sides:
    """The two programs, by name."""

    def __init__(self, scarlet2_python: str, folder: Path):
        self.folder = folder
        paths = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        self.environment = {"scoresample": os.environ | {"PYTHONPATH": paths}, "scarlet2": None}
        self.python = {"scoresample": sys.executable, "scarlet2": scarlet2_python}

    def command(self, side: str, *what) -> list[str]:
        return [self.python[side], str(HERE / f"{side}_side.py"), str(self.folder), *map(str, what)]

    def run(self, side: str, *what) -> dict:
        """Run one task in a process of its own, and return what it measured and its wall time."""
        begun = time.perf_counter()
        out = subprocess.run(
            self.command(side, *what),
            env=self.environment[side],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        lines = out.strip().splitlines()
        return (json.loads(lines[-1]) if lines else {}) | {"wall": time.perf_counter() - begun}

    def serve(self, side: str) -> subprocess.Popen:
        """Start a process that answers requests."""
        return subprocess.Popen(
            self.command(side, "serve"), env=self.environment[side], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip


def ask(process: subprocess.Popen, what: str, calls: int) -> dict:
    """Return the answer to one request: milliseconds of a call, and its value."""
    process.stdin.write(json.dumps({"what": what, "calls": calls}) + "\n")
    process.stdin.flush()
    return json.loads(next(line for line in process.stdout if line.startswith("{")))


def gradients(sides: Sides, turns: int) -> dict:
    """Return times of values and gradients, taken in turns."""
    # scarlet2's environment writes the network that both read.
    servers = {side: sides.serve(side) for side in reversed(SIDES)}
    ask(servers["scarlet2"], "mixer", 1)
    found = {}
    for name, asked in GRADIENTS.items():
        requests = dict(zip(SIDES, asked, strict=True))
        values = {side: ask(servers[side], what, 3)["value"] for side, what in requests.items()}
        answers = {side: [] for side in SIDES}
        for _ in range(turns):
            for side, what in requests.items():
                answers[side].append(ask(servers[side], what, 40))
        found[name] = {"value": values}
        for clock in ("ms", "cpu_ms"):
            times = {side: [answer[clock] for answer in answers[side]] for side in SIDES}
            found[name][clock] = {side: [min(t), float(np.median(t))] for side, t in times.items()}
            found[name][f"ratio of {clock}"] = float(np.median(np.divide(*times.values())))
    for server in servers.values():
        server.stdin.close()
        server.wait()
    return found


def matrix_rate(size: int = 1024) -> float:
    """Return the best rate of products of matrices in single precision, in operations per second of CPU."""
    import jax

    matrix = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    product = jax.jit(lambda a, b: a @ b)
    times = []
    for _ in range(20):
        begun = time.process_time()
        for _ in range(5):
            product(matrix, matrix).block_until_ready()
        times.append((time.process_time() - begun) / 5)
    return 2 * size**3 / min(times[1:])


def network_operations(side: int = 32, hidden: int = 64, mixing: int = 512, blocks: int = 4) -> int:
    """Return the multiplications and additions of one score of the published network."""
    patches, pixels = (side // 4) ** 2, 16
    ends = 2 * patches * hidden * (2 * pixels + pixels)
    return ends + blocks * (2 * 2 * hidden * patches * mixing + 2 * 2 * patches * hidden * mixing)


def limit(found: dict) -> dict:
    """Return how much CPU six scores take at the rate of matrix products, and how far above it both are."""
    rate, operations = matrix_rate(), 6 * network_operations()
    least = 1e3 * operations / rate
    row = found["and six published networks"]["cpu_ms"]
    above = {side: row[side][0] / least for side in SIDES}
    return {"operations": operations, "rate": rate, "ms": least, "above": above}


def first_maps(sides: Sides, turns: int) -> dict:
    """Return the times of processes that end with a MAP, the quickest of each side."""
    runs = {side: [] for side in SIDES}
    for _ in range(turns):
        for side in SIDES:
            runs[side].append(sides.run(side, "first_map"))
    ratio = np.median([a["process"] / b["process"] for a, b in zip(*runs.values(), strict=True)])
    best = {side: min(found, key=lambda run: run["process"]) for side, found in runs.items()}
    return best | {"ratio": float(ratio)}


def draws(sides: Sides, sizes: dict[str, tuple[int, int]]) -> dict:
    """Return what draws of the fluxes cost, with the same prior on both sides."""
    found = {}
    for side in SIDES:
        found[side] = sides.run(side, "sample", *sizes[side])
        fluxes = np.load(sides.folder / f"{side}_fluxes.npy")
        ess = [
            float(array_stats.ess(np.asarray(fluxes[:, :, k, b], float), method="bulk"))
            for k in range(fluxes.shape[2])
            for b in range(fluxes.shape[3])
        ]
        found[side] |= {
            "size": list(sizes[side]),
            "chains": len(fluxes),
            "ess": min(ess),
            "mean": fluxes.mean((0, 1)).tolist(),
        }
    rates = [found[side]["ess"] / found[side]["draws"] for side in SIDES]
    return found | {"ratio": rates[0] / rates[1]}


def show(found: dict) -> None:
    """Print tables in Markdown."""
    if "gradients" in found:
        print("| value and gradient | scoresample, ms | scarlet2, ms | ratio | CPU ms | CPU ms | ratio |")
        print("|---|---|---|---|---|---|---|")
        for name, row in found["gradients"].items():
            cells = []
            for clock in ("ms", "cpu_ms"):
                cells += [f"{row[clock][side][0]:.2f}, {row[clock][side][1]:.2f}" for side in SIDES]
                cells += [f"{row[f'ratio of {clock}']:.2f}"]
            print(f"| {name} | {' | '.join(cells)} |")
        least = found["limit"]
        print(
            f"\nSix scores are {least['operations'] / 1e6:.0f} million operations, {least['ms']:.2f} ms of CPU at the "
            f"{least['rate'] / 1e9:.0f} GFLOP/s of a core in matrix products here; likelihood and scores together take "
            f"{least['above']['scoresample']:.1f} times that, scarlet2 {least['above']['scarlet2']:.1f}.\n"
        )
    if "first_map" in found:
        print("| seconds | scoresample | scarlet2 |\n|---|---|---|")
        for name in ("process", "import", "initialize", "fit", "second fit", "CPU"):
            row = [f"{found['first_map'][side][name]:.1f}" for side in SIDES]
            print(f"| {name} | {row[0]} | {row[1]} |")
        print(f"\nWhole process, ratio: {found['first_map']['ratio']:.2f}\n")
    if "draws" in found:
        print("| draws with a Gaussian prior | scoresample | scarlet2 |\n|---|---|---|")
        rows = found["draws"]
        per = lambda side: rows[side]["ess"] / rows[side]["draws"]
        for name, value in {
            "chains x (warm-up + draws)": lambda s: (
                f"{rows[s]['chains']} x ({rows[s]['size'][0]} + {rows[s]['size'][1]})"
            ),
            "seconds of warm-up, of draws": lambda s: f"{rows[s]['warm-up']:.0f}, {rows[s]['draws']:.0f}",
            "smallest bulk ESS of a flux": lambda s: f"{rows[s]['ess']:.0f}",
            "per second of draws": lambda s: f"{per(s):.3g}",
            "score evaluations per effective draw": lambda s: f"{rows[s]['gradients'] / rows[s]['ess']:.0f}",
        }.items():
            print(f"| {name} | {value('scoresample')} | {value('scarlet2')} |")
        print(f"\nEffective flux draws per second, ratio: {rows['ratio']:.3g}\n")
    if "effective" in found:
        row = found["effective"]
        print(
            f"From process start to {row['ess']:.0f} effective draws of every flux: {row['process']:.0f} s, of which "
            f"{row['map']:.0f} s to the MAP; {row['CPU']:.0f} s of CPU; "
            f"{row['gradients'] / row['ess']:.0f} score evaluations for each."
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scene")
    parser.add_argument(
        "--scarlet2-python", required=True, help="interpreter of the environment with scarlet2"
    )
    parser.add_argument("--only", choices=("gradients", "first_map", "draws", "effective"))
    parser.add_argument("--turns", type=int, default=15, help="of gradients")
    parser.add_argument("--processes", type=int, default=2, help="of each side, from start to MAP")
    parser.add_argument("--draws", type=int, default=1000, help="of scoresample, in each of 4 chains")
    parser.add_argument(
        "--scarlet2-draws", type=int, default=100, help="of its NUTS, after as many of warm-up"
    )
    options = parser.parse_args()
    kept = HERE / "against_scarlet2.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        sides = Sides(options.scarlet2_python, Path(name))
        sides.run("scoresample", "scene", Path(options.scene).resolve())
        wanted = lambda part: options.only in (None, part)
        if wanted("gradients"):
            sides.run("scoresample", "points", "boxes_of_32")
            found["gradients"] = gradients(sides, options.turns)
            found["limit"] = limit(found["gradients"])
        if wanted("first_map"):
            found["first_map"] = first_maps(sides, options.processes)
        if wanted("draws"):
            sides.run("scoresample", "points", "own_boxes")
            sizes = {
                "scoresample": (RunSettings().warmup, options.draws),
                "scarlet2": (options.scarlet2_draws,) * 2,
            }
            found["draws"] = draws(sides, sizes)
        if wanted("effective"):
            found["effective"] = sides.run("scoresample", "effective", 400)
    kept.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


if __name__ == "__main__":
    main()
