"""The page on a run: whole, alone, verdict first."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from scoresample.errors import FileFormatError
from scoresample.products.archive import save_report
from scoresample.products.pipeline_report import versions
from scoresample.products.report_page import write_page

PNG = b"\x89PNG\r\n\x1a\n0123"
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Collects tags, checks that they close in order, and keeps what they point to."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.targets, self.text, self.tags = [], [], [], set()
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.targets += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def fit(*reasons):
    row = {"band": "g", "pixels": 400, "chi2": 1.01, "chi2_p": 0.5, "largest": 3.1, "largest_p": 0.4,
           "correlation": 0.01, "correlation_p": 0.6}  # fmt: skip
    return {"passed": not reasons, "reasons": list(reasons), "draws": 100, "bands": [row]}


@pytest.fixture
def report():
    """A report of a run that went well, but for a star without data in g."""
    quantity = {"quantity": "flux[a, g]", "kind": "flux", "mean": 10.0, "sd": 1.0, "r_hat": 1.0, "ess_bulk": 900.0,
                "ess_tail": 800.0, "ok": True}  # fmt: skip
    return {
        "scene": "<field> & 1",
        "status": "done",
        "input": {"file": "a.npz"},
        "verdict": {"converged": True, "reasons": [], "num_divergences": 0, "table": [quantity]},
        "fit": fit(),
        "map": {"status": "converged"},
        "chi2": {"all": 1.0},
        "flux_unit": "nJy",
        "background": {"g": {"mean": 0.1, "sd": 0.01}},
        "fluxes": [
            {"object": "galaxy_0", "band": "g", "mean": 10.0, "sd": 1.25},
            {"object": "star_1", "band": "g", "mean": np.nan, "sd": np.nan},
        ],
        "confidence": {"galaxy_0": 3.0, "star_1": None},
        "light_from_data": {"galaxy_0": 0.75, "star_1": None},
        "model": "Posterior\n  likelihood",
        "settings": {"num_kept": 10},
        "seconds": {"map": 1.0},
        "warnings": ["stars are <wide>"],
        "versions": versions(),
    }


def written(folder, report):
    save_report(folder / "report.json", report)
    write_page(folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_is_valid_and_alone(tmp_path, report):
    (tmp_path / "scene.png").write_bytes(PNG)
    (tmp_path / "fit.png").write_bytes(PNG)
    text = written(tmp_path, report)
    assert text.startswith("<!doctype html>")
    read = Reader(text)
    assert len(read.targets) == 2
    assert all(target.startswith("data:image/png;base64,iVBORw0K") for target in read.targets)
    assert not re.search(r"https?:|//|<script|<link|@import|url\(", text.replace(read.targets[0], ""))
    assert "<field>" not in text and "<field> & 1" in "".join(read.text)


def test_the_reader_sees_tags_that_do_not_close():
    with pytest.raises(AssertionError):
        Reader("<p><b>text</p></b>")


def test_the_verdict_comes_first_then_why(tmp_path, report):
    text = "\n".join(Reader(written(tmp_path, report)).text)
    parts = ("converged, and the data look like the model's own", "The draws have converged", "Residuals of 100 draws",
             "Prior only", "stars are <wide>", "10.0 +- 1.2", "All quantities", "How it was made")  # fmt: skip
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "star_1 in g" in text and text.count("prior only") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "interrupted"}, "interrupted, not to be used as it is"),
        ({"verdict": {"converged": False, "reasons": ["R-hat is 2"], "num_divergences": 1, "table": []}}, "R-hat is 2"),
        ({"fit": fit("g: a pixel is off by 9.0 sigma")}, "converged, but the model does not explain the data"),
        ({"fit": fit("g: a pixel is off by 9.0 sigma")}, "g: a pixel is off by 9.0 sigma"),
        ({"fit": None}, "converged; the fit was not checked"),
        ({"fluxes": [], "confidence": None, "light_from_data": None, "background": {}}, "There are no draws."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path, report, change, said):
    assert said in "".join(Reader(written(tmp_path, report | change)).text)


def test_the_picture_of_an_earlier_fit_is_left_out(tmp_path, report):
    (tmp_path / "fit.png").write_bytes(PNG)
    assert "data:image" not in written(tmp_path, report | {"fit": None})
    del report["fit"]  # as reports once were
    assert "the fit was not checked" in written(tmp_path, report)


def test_a_report_that_is_missing_or_cut_short_is_named(tmp_path):
    with pytest.raises(FileFormatError, match=r"report\.json: not a complete report.*diagnose"):
        write_page(tmp_path)
    (tmp_path / "report.json").write_text('{"scene": ')
    with pytest.raises(FileFormatError, match="not a complete report"):
        write_page(tmp_path)
