"""``report.html``: one file on a run for the eye, with its pictures inside. Verdict first, then why."""

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scoresample.errors import FileFormatError
from scoresample.numerics.files import replacing
from scoresample.products.pipeline_files import FIT_PICTURE, HALLUCINATION_PICTURE, PAGE, PICTURE, REPORT
from scoresample.products.plain import plus_minus

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px; }
td, th { padding: 0.15em 0.8em; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; }
.good { border-left: 6px solid #2a7; padding-left: 1em; }
.bad { border-left: 6px solid #c33; padding-left: 1em; }
img { max-width: 100%; }
pre { overflow-x: auto; background: #f5f5f5; padding: 0.7em; font-size: 13px; }
"""


def write_page(folder: Path) -> None:
    """Write ``report.html`` of the ``report.json`` and the pictures in a folder.

    Raises
    ------
    FileFormatError
        If ``report.json`` is missing or not complete.
    """
    try:
        # Reports of before there was a predictive check have none.
        report = {"fit": None} | json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = " ".join(str(error).split())
        raise FileFormatError(
            f"{folder / REPORT}: not a complete report ({message}); run 'scoresample diagnose' again."
        ) from None
    pictures = {"The scene": folder / PICTURE}
    if report["fit"] is not None:  # else the picture is of an earlier run
        pictures["Residuals"] = folder / FIT_PICTURE
    if report["confidence"]:
        pictures["What prior and data know of each pixel"] = folder / HALLUCINATION_PICTURE
    found = {title: path.read_bytes() for title, path in pictures.items() if path.exists()}
    with replacing(folder / PAGE) as temporary:
        temporary.write_text(page(report, found), encoding="utf-8")


def page(report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Return a report, as `save_report` writes it, and PNG pictures by title as a page without any links."""
    title = f"{report['scene']}: {_headline(report)}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        *_verdicts(report),
        "<h2>Fluxes</h2>",
        _fluxes(report),
        *(f"<h2>{_text(name)}</h2>{_picture(name, png)}" for name, png in pictures.items()),
        *_fit(report),
        "<h2>Sampling</h2>",
        _sampling(report),
        "<h2>Model</h2>",
        f"<pre>{_text(report['model'])}</pre>",
        *_background(report),
        "<h2>How it was made</h2>",
        *_provenance(report),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"><title>{_text(title)}</title><style>{_STYLE}</style></head>',
            "<body>",
            *parts,
            "</body>",
            "</html>\n",
        ]
    )


def _headline(report: Mapping[str, Any]) -> str:
    if report["status"] != "done":
        return f"{report['status']}, not to be used as it is"
    if not report["verdict"]["converged"]:
        return "not converged, not to be used as it is"
    if report["fit"] is None:
        return "converged; the fit was not checked"
    return "converged, and the data look like the model's own" if report["fit"]["passed"] else (
        "converged, but the model does not explain the data"
    )  # fmt: skip


def _verdicts(report: Mapping[str, Any]) -> list[str]:
    """Return the verdicts with their reasons, what only the prior knows, and warnings."""
    sampling, fit = report["verdict"], report["fit"]
    found = [_verdict(sampling["converged"], "The draws have converged", "The draws have NOT converged",
                      [*sampling["reasons"], *sampling.get("notes", ())])]  # fmt: skip
    if fit is None:
        found.append(_verdict(False, "", "The fit was not checked: there are no draws of the images", ()))
    else:
        found.append(
            _verdict(
                fit["passed"],
                f"Residuals of {fit['draws']} draws look like noise in every band",
                "The model does NOT explain the data",
                fit["reasons"],
            )
        )
    if unseen := _unseen(report):
        found.append(_verdict(False, "", "Prior only: no pixel with data knows of these fluxes", unseen))
    if report["warnings"]:
        found.append(_verdict(False, "", "Warnings", report["warnings"]))
    return found


def _verdict(good: bool, if_good: str, if_bad: str, reasons: Iterable[str]) -> str:
    kind, words = ("good", if_good) if good else ("bad", if_bad)
    items = "".join(f"<li>{_text(reason)}</li>" for reason in reasons)
    return f'<div class="{kind}"><p><b>{_text(words)}.</b></p>{f"<ul>{items}</ul>" if items else ""}</div>'


def _unseen(report: Mapping[str, Any]) -> list[str]:
    """Return each object that has fluxes without data, with their bands."""
    bands: dict[str, list[str]] = {}
    for row in report["fluxes"]:
        if row["mean"] is None:
            bands.setdefault(row["object"], []).append(row["band"])
    return [f"{name} in {', '.join(dark)}" for name, dark in bands.items()]


def _fluxes(report: Mapping[str, Any]) -> str:
    rows = report["fluxes"]
    if not rows:
        return "<p>There are no draws.</p>"
    bands = list(dict.fromkeys(row["band"] for row in rows))
    cells = {
        (row["object"], row["band"]): "prior only"
        if row["mean"] is None
        else plus_minus(row["mean"], row["sd"])
        for row in rows
    }
    found = {"confidence": report["confidence"], "light from data": report.get("light_from_data")}
    found = {name: numbers for name, numbers in found.items() if numbers}
    head = ["object", *bands, *found]
    body = [
        [name, *(cells[name, band] for band in bands),
         *(_number(numbers.get(name)) for numbers in found.values())]
        for name in dict.fromkeys(row["object"] for row in rows)
    ]  # fmt: skip
    unit = report["flux_unit"] or "the unit of the images"
    return f"<p>Posterior mean and standard deviation, in {_text(unit)}.</p>" + _table(head, body)


def _fit(report: Mapping[str, Any]) -> list[str]:
    fit = report["fit"]
    if fit is None:
        return []
    columns = ("chi2", "chi2_p", "largest", "largest_p", "correlation", "correlation_p")
    head = ["band", "pixels", "chi-square per pixel", "p", "largest residual / sigma", "p",
            "correlation of neighbours", "p"]  # fmt: skip
    body = [
        [row["band"], str(row["pixels"]), *(_number(row[column]) for column in columns)]
        for row in fit["bands"]
    ]
    return [
        "<p>p: how often data replicated from the posterior are further from the model than the data are.</p>",
        _table(head, body),
    ]


def _sampling(report: Mapping[str, Any]) -> str:
    columns = ("mean", "sd", "r_hat", "ess_bulk", "ess_tail")
    body = [
        [row["quantity"], *(_number(row[column]) for column in columns), "" if row["ok"] else "not converged"]
        for row in report["verdict"]["table"]
    ]
    divergences = report["verdict"]["num_divergences"]
    table = _table(["quantity", "mean", "sd", "R-hat", "ESS, bulk", "ESS, tail", ""], body)
    return f"<p>{divergences} divergences.</p><details><summary>All quantities</summary>{table}</details>"


def _background(report: Mapping[str, Any]) -> list[str]:
    if not report["background"]:
        return []
    body = [[band, plus_minus(value["mean"], value["sd"])] for band, value in report["background"].items()]
    return ["<p>Background, per pixel:</p>", _table(["band", "background"], body)]


def _provenance(report: Mapping[str, Any]) -> list[str]:
    """Return input, settings, times and versions."""
    parts = {
        "Input": report["input"],
        "MAP": report["map"] | {"chi2": report["chi2"]},
        "Settings": report["settings"],
        "Seconds": report["seconds"],
        "Versions": report["versions"],
    }
    return [
        f"<details><summary>{name}</summary><pre>{_text(json.dumps(value, indent=2))}</pre></details>"
        for name, value in parts.items()
    ]


def _picture(title: str, png: bytes) -> str:
    return f'<img alt="{_text(title)}" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    row = lambda cells, tag: "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in cells)
    rows = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in body)
    return f"<table><thead><tr>{row(head, 'th')}</tr></thead><tbody>{rows}</tbody></table>"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _text(value: str) -> str:
    return html.escape(str(value))
