"""The public names: the lines of the README as written, and errors where a name or a prior does not exist."""

import re
from pathlib import Path

import numpy as np
import pytest

import scoresample as ss

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = (
    *(
        "read_observation",
        "read_catalog",
        "load_prior",
        "initialize_scene",
        "Posterior",
        "find_map",
        "sample",
    ),
    *(
        "NUTS",
        "diagnose",
        "to_arviz",
        "hallucination_score",
        "flux_catalog",
        "plot_scene",
        "Density",
        "HMC",
        "MALA",
    ),
    *("ULA", "UnderdampedLangevin", "AnnealedLangevin", "audit", "NumpyroDensity", "ScoreDistribution"),
    *(
        "Laplace",
        "dispersed_starts",
        "make_observation",
        "make_catalog",
        "write_scene",
        "Observation",
        "Catalog",
        "Frame",
    ),
    *("GaussianMorphologyPrior", "load_gaussian_prior", "AbstractPrior", "AbstractLogPrior", "Scene"),
    *("Source", "make_source", "PixelMorphology", "PointSource", "SersicProfile", "GaussianProfile"),
    *("GaussianPSF", "Draws", "flux_draws", "write_catalog", "save_draws", "load_draws", "load_demo"),
    *("ScoresampleError", "ShapeError", "DataError", "FileFormatError", "ScoreOnlyError", "PositionError"),
    *("data_gain", "data_modes", "plot_hallucination"),
    *("ConfigError", "ScoresampleWarning", "__version__"),
)


@pytest.mark.parametrize("name", CONTRACT)
def test_names_that_other_work_relies_on(name):
    assert name in ss.__all__
    assert getattr(ss, name) is getattr(ss, name)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ss.nothing


def test_priors_by_name():
    assert isinstance(ss.load_prior("galaxies"), ss.AbstractLogPrior)
    assert isinstance(ss.load_prior("gaussian"), ss.GaussianMorphologyPrior)
    with pytest.raises(ss.ConfigError, match=r"no prior 'stars'.*galaxies, gaussian"):
        ss.load_prior("stars")


def test_the_shipped_scene_has_its_truth():
    observation, catalog = ss.load_demo()
    assert observation.frame.bands == tuple("ugrizy")
    assert observation.frame.flux_unit == "nJy"
    assert catalog.true_flux.shape == (len(catalog), 6)
    assert catalog.is_star.sum() == 1


def test_the_lines_of_the_readme_run_as_written(tmp_path, monkeypatch, seed_shift):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    lines = blocks[0].replace("num_warmup=300, num_draws=500", "num_warmup=25, num_draws=25, progress=False")
    assert "num_draws=25" in lines
    rng = np.random.default_rng(5 + seed_shift)
    y, x = np.indices((24, 24))
    spot = np.exp(-0.5 * ((y - 11) ** 2 + (x - 12) ** 2) / 2.4**2) / (2 * np.pi * 2.4**2)
    images = np.array([60.0, 90.0])[:, None, None] * spot + 0.1 * rng.normal(size=(2, 24, 24))
    psf = np.exp(-0.5 * ((np.indices((13, 13)) - 6) ** 2).sum(axis=0) / 1.4**2)
    np.savez(
        tmp_path / "scene.npz", images=images, weights=np.full(images.shape, 100.0), bands=["g", "r"],
        psfs=np.stack([psf / psf.sum()] * 2), centers=[[11.0, 12.0]], flux_unit="nJy",
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(lines, "README.md", "exec"), names)
    assert len(names["table"]) == 1
    assert names["idata"]["posterior"]["flux"].shape == (4, 25, 1, 2)
    assert "Verdict" in repr(ss.diagnose(names["draws"]))
    names |= {"log_prob": lambda v: -0.5 * (v**2).sum(), "x0": np.zeros(3)}
    exec(
        compile(blocks[1].replace("num_draws=2500", "num_draws=25, progress=False"), "README.md", "exec"),
        names,
    )
    assert names["draws"].position.shape == (8, 25, 3)
