"""The three scenes that results are promised for: fit, convergence, and truth where it is known.

python -m pytest -m slow tests/cli/test_shared_scenes.py      minutes for each
"""

import json

import pytest

pytestmark = pytest.mark.slow

SCENES = {
    "hsc_cosmos_35": (),
    # Its PSFs are stored in another order than its bands; scoresample warns of it.
    "psf_unmatched_sim": ("--psf-bands", "r,z,g,i,u,y"),
    # Its stars are 3.7 times wider than its PSF; scoresample warns of it.
    "psf_matched_sim": ("--no-stars",),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_fitted_and_its_fluxes_converge(scoresample, shared_data, tmp_path, name):
    result = scoresample("run", shared_data / f"{name}.npz", "-o", tmp_path, "--quiet", *SCENES[name])
    report = json.loads((tmp_path / "report.json").read_text())
    assert 0.9 < report["chi2"]["reduced"] < 1.15
    assert report["verdict"]["converged"], report["verdict"]["reasons"]
    assert result.exit_code == 0
    rows = [row for row in report["verdict"]["table"] if row["kind"] == "flux"]
    assert len(rows) == len(report["fluxes"])
    assert max(row["r_hat"] for row in rows) < 1.01
    assert min(row["ess_bulk"] for row in rows) > 400
    assert min(row["sd"] for row in rows) > 0
