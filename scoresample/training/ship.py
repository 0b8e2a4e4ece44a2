"""Put trained weights into the package, with all that is known of them.

``python -m scoresample.training.ship weights.npz report/report.json --name galaxies``, in a checkout; the report is
that of ``scoresample report-prior weights.npz -o report/``.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess

from scoresample.errors import DataError
from scoresample.models.weights_file import read_network, write_network

FIGURES = ("noise_left", "draws", "walk", "scale", "curl", "ring", "boxes")
WEIGHTS = pathlib.Path(__file__).parents[1] / "models" / "weights"


def ship(weights: pathlib.Path, report: pathlib.Path, name: str, commit: str) -> pathlib.Path:
    """Write ``NAME.npz`` among the shipped priors; its card has data, recipe, seed, versions, commit and figures.

    Raises
    ------
    DataError
        If the report is of other weights.
    """
    found = read_network(weights)
    figures = json.loads(report.read_text())
    if figures["prior"]["sha256"] != hashlib.sha256(weights.read_bytes()).hexdigest():
        raise DataError(
            f"{report.name} is of other weights than {weights.name}; make it with 'report-prior'."
        )
    known = {key: figures[key] for key in FIGURES if key in figures}
    path = WEIGHTS / f"{name}.npz"
    card = found.card | {"commit": commit, "figures": known, "measured_on": figures["galaxies"]}
    write_network(path, found.network, found.tables, card)
    return path


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m scoresample.training.ship", description=__doc__)
    parser.add_argument("weights", type=pathlib.Path)
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=WEIGHTS, capture_output=True, text=True, check=True
    )
    ship(options.weights, options.report, options.name, asked.stdout.strip())


if __name__ == "__main__":
    main()
