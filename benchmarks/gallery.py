"""The study of a gallery, kept in the repository, so that it may grow a few scenes at a time.

    python -m benchmarks.gallery --scenes 200                   goes on from what is in benchmarks/gallery/
    python -m benchmarks.gallery --scenes 200 --prior profile   the same with another prior
    python -m benchmarks.gallery --scenes 20 --method posterior:offset      a variant, on scenes that have a posterior
    python -m benchmarks.gallery --table                        prints the tables of docs/gallery.md
    python -m benchmarks.gallery --table --without merger knots of scenes that have none of these
    python -m benchmarks.gallery --table --scenes 9             of the first scenes
    python -m benchmarks.gallery --table --leave-out 14         of scenes that another prior has as well
    python -m benchmarks.gallery --table --light-in-place       of scenes in which no light is off its center
    python -m benchmarks.gallery --table --figures pictures/    and draws errors and intervals

It is `scoresample bench blends` with the settings below. Each method has a file, the posterior one for each prior, and
each scene a line of it, its numbers to five digits; the first line says of which gallery and settings.
"""

import argparse
import json
import pathlib
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace

import pandas as pd

from scoresample.diagnostics.blend_report import BlendReport, judge_blends
from scoresample.models.load import prior_hash
from scoresample.numerics.files import replacing
from scoresample.products.archive import save_report
from scoresample.products.blends import bench_blends
from scoresample.products.blends_files import draw_study, result_file
from scoresample.products.blends_methods import START_VARIANTS
from scoresample.products.catalog import ROOM
from scoresample.products.pipeline_settings import RunSettings
from scoresample.products.plain import plain
from scoresample.training.gallery import PIXEL, SEEING, Gallery

STORED = pathlib.Path(__file__).parent / "gallery"
OURS = "posterior"
METHODS = ("oracle", OURS, "parametric", "constrained")
VARIANTS = (
    f"{OURS}:offset",
    f"{OURS}:bright",
    f"{OURS}:limited",
    *(f"map:{name}" for name in (*START_VARIANTS, "ztf-like")),
    *(f"constrained:{name}" for name in START_VARIANTS),
)
GUESTS = ("scarlet2",)
GALLERY = Gallery()
SCENES = 200
IN_PLACE = 0.5 * max(SEEING.values()) / PIXEL + ROOM
"""Pixels from its center within which the light of an object peaks; `flux_catalog` flags those of which it does not."""


def settings_for(prior: str) -> RunSettings:
    """Return those of the study: all but the prior as by default."""
    return RunSettings(prior=prior)


def is_ours(method: str) -> bool:
    """Return whether a method is our posterior or its MAP, or a variant of these."""
    return method.startswith((OURS, "map"))


def stored_file(method: str, prior: str) -> pathlib.Path:
    """Return where the results of a method are kept; the prior is only ours."""
    return STORED / (f"{method.replace(':', '_')}_{prior}.jsonl" if is_ours(method) else f"{method}.jsonl")


def about(method: str, prior: str) -> dict:
    """Return what the results of a method depend on."""
    run = {"run": asdict(settings_for(prior)), "prior": prior_hash(prior)} if is_ours(method) else {}
    return plain({"gallery": asdict(GALLERY)} | run)


def rounded(value):
    """Return a tree with its numbers that are not whole rounded to five digits."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def read_stored(method: str, prior: str, *, of_now: bool = True) -> dict[int, dict]:
    """Return what is stored of a method, by scene; ends where it has to be ``of_now`` and is of other settings."""
    path = stored_file(method, prior)
    if not path.exists():
        return {}
    first, *results = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    if of_now and first != about(method, prior):
        sys.exit(f"{path.name} is of another gallery, prior or other settings; move it away to begin anew.")
    return {result["scene"]: result for result in results}


def lay(prior: str, folder: pathlib.Path, methods: Sequence[str]) -> None:
    """Put what is stored into the folder of a study."""
    for method in methods:
        for scene, result in read_stored(method, prior).items():
            save_report(result_file(folder, method, scene), result)


def gather(prior: str, folder: pathlib.Path, methods: Sequence[str]) -> None:
    """Store what is in the folder of a study beside what was stored before."""
    STORED.mkdir(exist_ok=True)
    for method in methods:
        found = read_stored(method, prior)
        for path in result_file(folder, method, 0).parent.glob("*.json"):
            result = json.loads(path.read_text(encoding="utf-8"))
            found[result["scene"]] = rounded(result)
        lines = [about(method, prior), *(found[scene] for scene in sorted(found))]
        with replacing(stored_file(method, prior)) as temporary:
            temporary.write_text(
                "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines), encoding="utf-8"
            )


def judge_stored(
    prior: str,
    num_scenes: int = SCENES,
    without: Sequence[str] = (),
    left_out: Collection[int] = (),
    others: Sequence[str] = (*VARIANTS, *GUESTS),
) -> BlendReport:
    """Judge the first scenes, those that every method has seen; ``without``: kinds that they may not have."""
    found = {method: read_stored(method, prior, of_now=False) for method in (*METHODS, *others)}
    kinds = {scene: {o["kind"] for o in one["objects"]["oracle"]} for scene, one in found["oracle"].items()}
    everywhere = sorted(
        scene
        for scene in set.intersection(*(set(found[method]) for method in METHODS))
        if scene < num_scenes and scene not in left_out and not kinds[scene] & set(without)
    )
    return judge_blends(
        [found[method][scene] for scene in everywhere for method in found if scene in found[method]]
    )


def with_light_elsewhere(prior: str) -> set[int]:
    """Return the scenes in which the light of an object peaks off its center; those of which it is not stored as well.

    By the posterior mean, or by the MAP where that is all there is (``map:bright`` ends at the same place).
    """
    found = {scene: None for scene in read_stored(OURS, prior, of_now=False)}
    for method in ("map:bright", OURS):
        for scene, result in read_stored(method, prior, of_now=False).items():
            offsets = [row.get("peak_offset") for row in result["objects"].get(method, [])]
            if offsets and None not in offsets:
                found[scene] = max(offsets)
    return {scene for scene, offset in found.items() if offset is None or offset > IN_PLACE}


def markdown(frame: pd.DataFrame) -> str:
    """Return a table as docs have it."""
    lines = [list(frame), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_error(frame: pd.DataFrame, column: str) -> pd.Series:
    """Return numbers and their errors as text."""
    values, errors = frame[column], frame[f"{column}_error"]
    return pd.Series([f"{v:.3f} +- {e:.3f}" for v, e in zip(values, errors, strict=True)], frame.index)


def tables(report: BlendReport) -> str:
    """Return what docs/gallery.md shows of a study, in Markdown: errors, intervals in i, targets."""
    if report.intervals.empty:
        return f"{report.runs['scene'].nunique()} scenes are too few for tables."
    groups = report.groups.assign(error=with_error(report.groups, "flux_error"))
    errors = groups.pivot(index="group", columns="estimate", values="error")
    errors = errors.fillna("")  # variants of few scenes lack some groups
    counts = groups.groupby("group")["objects"].first()
    errors = errors.loc[groups["group"].unique()].assign(objects=counts).reset_index()
    inside = report.intervals[report.intervals["bands"] == "i"].reset_index(drop=True)
    shown = inside[["estimate", "group", "fluxes"]].copy()
    for column in ("coverage_68", "coverage_95", "pull_width"):
        shown[column] = with_error(inside, column)
    others = of_some_scenes(report.table)
    targets = "\n".join(f"- {target}" for target in report.targets)
    seconds = report.runs.groupby("method")["seconds"].median().reset_index()
    return "\n\n".join([*map(markdown, (errors, shown, others, seconds)), targets])


def of_some_scenes(table: pd.DataFrame) -> pd.DataFrame:
    """Return median flux errors of variants and guests, and of methods without the variant on the same scenes."""
    rows, errors = [], table.assign(error=table["flux_error"].abs())
    for label, part in errors.groupby("estimate", sort=False):
        base = str(label).partition(":")[0]
        if base == label and label not in GUESTS:
            continue
        same = errors[errors["scene"].isin(part["scene"])].groupby("estimate")["error"].median()
        rows.append({
            "estimate": label,
            "scenes": part["scene"].nunique(),
            "sources": len(part),
            "median flux error": f"{part['error'].median():.3f}",
            "without the variant": "" if base == label else f"{same[base]:.3f}",
            "of the posterior": f"{same[OURS]:.3f}",
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--max-seconds", type=float, help="of one scene; what is drawn by then is kept")
    parser.add_argument("--prior", default=RunSettings().prior)
    parser.add_argument("--method", nargs="+", default=METHODS, choices=(*METHODS, *VARIANTS, *GUESTS))
    parser.add_argument("--folder", type=pathlib.Path, help="of the study; a temporary one by default")
    parser.add_argument("--gather", action="store_true", help="only store what is in the folder")
    parser.add_argument("--table", action="store_true", help="only print what is stored")
    parser.add_argument(
        "--without", nargs="+", default=(), help="kinds; of tables, scenes that have one are left out"
    )
    parser.add_argument("--figures", type=pathlib.Path, help="folder for pictures of what is stored")
    parser.add_argument("--leave-out", type=int, nargs="+", default=(), help="scenes, of tables")
    parser.add_argument(
        "--light-in-place",
        action="store_true",
        help="tables of scenes in which all light peaks at its center",
    )
    args = parser.parse_args()
    left_out = {*args.leave_out, *(with_light_elsewhere(args.prior) if args.light_in_place else ())}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or pathlib.Path(temporary)
        try:
            if not (args.gather or args.table):
                lay(args.prior, folder, args.method)
                bench_blends(
                    folder,
                    args.scenes,
                    GALLERY,
                    replace(settings_for(args.prior), max_seconds=args.max_seconds),
                    methods=args.method,
                    workers=args.jobs,
                    progress=True,
                )
        finally:
            if not args.table:
                gather(args.prior, folder, args.method)
    report = judge_stored(args.prior, args.scenes, args.without, left_out)
    print(tables(report))
    if args.figures is not None:
        args.figures.mkdir(parents=True, exist_ok=True)
        report = judge_stored(args.prior, args.scenes, args.without, left_out, others=())
        draw_study(report, args.figures)


if __name__ == "__main__":
    main()
