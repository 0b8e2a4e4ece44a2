"""The study of a gallery, kept in the repository, so that it may grow a few scenes at a time.

    python -m benchmarks.gallery --scenes 200          goes on from gallery_profile.jsonl, two minutes a scene and core
    python -m benchmarks.gallery --table               prints the tables of docs/gallery.md from what is stored

It is `scoresample bench blends` with the settings below. A line of the file is what one method made of one scene, its
numbers to five digits; the first line says of which gallery and settings.
"""

import argparse
import json
import pathlib
import sys
import tempfile
from dataclasses import asdict

import pandas as pd

from scoresample.diagnostics.blend_report import BlendReport, judge_blends
from scoresample.numerics.files import replacing
from scoresample.products.blends import bench_blends
from scoresample.products.blends_files import result_file
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.plain import plain
from scoresample.training.gallery import Gallery

STORED = pathlib.Path(__file__).parent
METHODS = ("oracle", "posterior", "parametric", "constrained")
GALLERY = Gallery()


def settings_for(prior: str) -> RunSettings:
    """Return those of the study: less draws than by default where these pass the verdict."""
    return RunSettings(warmup=150, draws=400, max_draws=1200, prior=prior)


def stored_file(prior: str) -> pathlib.Path:
    """Return where results with a prior are kept."""
    return STORED / f"gallery_{prior}.jsonl"


def about(prior: str) -> dict:
    """Return what a study is of."""
    return plain({"gallery": asdict(GALLERY), "run": asdict(settings_for(prior))})


def rounded(value):
    """Return a tree of numbers with those that are not whole rounded to five digits."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def read_stored(prior: str) -> list[dict]:
    """Return what is stored, and none where nothing is; ends where it is of other settings."""
    path = stored_file(prior)
    if not path.exists():
        return []
    first, *lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    if first != about(prior):
        sys.exit(f"{path.name} is of another gallery or other settings; move it away to begin anew.")
    return lines


def store(prior: str, results: list[dict]) -> None:
    """Write results, those of a method together, in the order of scenes."""
    order = {method: place for place, method in enumerate(METHODS)}
    results = sorted(results, key=lambda result: (order[result["method"]], result["scene"]))
    lines = [about(prior), *map(rounded, results)]
    with replacing(stored_file(prior)) as temporary:
        temporary.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def gather(prior: str, folder: pathlib.Path) -> None:
    """Store what is in the folder of a study beside what was stored before."""
    found = {(result["method"], result["scene"]): result for result in read_stored(prior)}
    for path in sorted(folder.glob("results/*/*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        found[result["method"], result["scene"]] = result
    store(prior, list(found.values()))


def lay(prior: str, folder: pathlib.Path) -> None:
    """Put what is stored into the folder of a study, but for what is there."""
    for result in read_stored(prior):
        path = result_file(folder, result["method"], result["scene"])
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result), encoding="utf-8")


def whole_scenes(results: list[dict]) -> list[dict]:
    """Return the results of the scenes that every method has seen."""
    seen = [{r["scene"] for r in results if r["method"] == method} for method in METHODS]
    everywhere = set.intersection(*seen)
    return [result for result in results if result["scene"] in everywhere]


def markdown(frame: pd.DataFrame) -> str:
    """Return a table as docs have it."""
    lines = [list(frame), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_error(frame: pd.DataFrame, column: str, digits: int) -> pd.Series:
    """Return numbers and their errors as text."""
    values, errors = frame[column], frame[f"{column}_error"]
    return pd.Series(
        [f"{v:.{digits}f} +- {e:.{digits}f}" for v, e in zip(values, errors, strict=True)], frame.index
    )


def tables(report: BlendReport) -> str:
    """Return what docs/gallery.md shows of a study, in Markdown: errors, intervals in i, targets."""
    errors = report.groups.assign(error=with_error(report.groups, "flux_error", 3)).pivot(
        index="group", columns="estimate", values="error"
    )
    order = report.groups["group"].unique()
    counts = report.groups.groupby("group")["objects"].first()
    errors = errors.loc[order].assign(objects=counts).reset_index()
    inside = report.intervals[report.intervals["bands"] == "i"].reset_index(drop=True)
    shown = inside[["estimate", "group", "fluxes"]].copy()
    for column in ("coverage_68", "coverage_95", "pull_width"):
        shown[column] = with_error(inside, column, 3)
    targets = "\n".join(f"- {target}" for target in report.targets)
    return "\n\n".join([markdown(errors), markdown(shown), targets])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--prior", default="profile")
    parser.add_argument("--folder", type=pathlib.Path, help="of the study; a temporary one by default")
    parser.add_argument("--gather", action="store_true", help="only store what is in the folder")
    parser.add_argument("--table", action="store_true", help="only print what is stored")
    args = parser.parse_args()
    if not args.table:
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.folder or pathlib.Path(temporary)
            try:
                if not args.gather:
                    lay(args.prior, folder)
                    settings = settings_for(args.prior)
                    bench_blends(
                        folder,
                        args.scenes,
                        GALLERY,
                        settings,
                        methods=METHODS,
                        workers=args.jobs,
                        progress=True,
                    )
            finally:
                gather(args.prior, folder)
    print(tables(judge_blends(whole_scenes(read_stored(args.prior)))))


if __name__ == "__main__":
    main()
