"""Notebooks run from beginning to end, with few draws and no window."""

import runpy
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCORESAMPLE_FAST", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        names = runpy.run_path(str(path))
    plt.close("all")
    assert list(tmp_path.iterdir()) == []
    if path.stem == "01_quickstart":
        assert len(names["table"]) == len(names["catalog"])
        assert names["banana"].position["x"].shape == (2, 25)


def test_there_are_notebooks():
    assert NOTEBOOKS
