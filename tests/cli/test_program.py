"""The command as a program of its own: start, streams, exit status, Ctrl-C, the shipped scene."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "scoresample"]


def test_help_comes_fast_and_without_jax():
    code = (
        "import sys; from scoresample.cli import main; main.main(['run', '--help'], prog_name='scoresample')"
    )
    code = f"import atexit, sys; atexit.register(lambda: print('jax' in sys.modules, 'numpy' in sys.modules)); {code}"
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert time.perf_counter() - begun < 3  # 0.3 s on an idle machine
    assert "--resume" in done.stdout
    assert done.stdout.rstrip().endswith("False False")


def test_version_and_help_name_every_command(scoresample):
    assert scoresample("--version").exit_code == 0
    text = scoresample("--help").stdout
    for command in ("run", "demo", "map", "sample", "diagnose", "catalog", "plot"):
        assert f"  {command} " in text
        assert scoresample(command, "--help").exit_code == 0


def test_bad_input_ends_a_real_process_with_status_2_and_one_line(tmp_path):
    done = subprocess.run(
        [*COMMAND, "run", str(tmp_path / "no.npz"), "-o", str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_keeps_what_is_done_and_progress_goes_to_stderr(tiny, tmp_path):
    options = ["--sampler", "mala", "--chains", "2", "--warmup", "25", "--draws", "1000000"]
    with subprocess.Popen(
        [*COMMAND, "run", str(tiny), "-o", str(tmp_path), *options],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"TQDM_MININTERVAL": "0"},
    ) as process:  # fmt: skip
        try:
            seen = b""
            while b"divergences" not in seen and b"draws:   1%" not in seen and seen.count(b"draws:") < 4:
                part = os.read(process.stderr.fileno(), 4096)
                assert part, seen
                seen += part
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 1
    assert b"Traceback" not in err
    assert b"interrupted" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["status"] == "interrupted"
    assert report["settings"]["num_kept"] > 0
    assert {"draws.nc", "fluxes.fits", "scene.png", "checkpoint.npz"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.slow
def test_the_demo_shows_the_truth_beside_the_posterior(scoresample, tmp_path):
    result = scoresample("demo", "-o", tmp_path)
    assert result.exit_code == 0
    assert "pull" in result.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    pulls = [(row["mean"] - row["truth"]) / row["sd"] for row in report["fluxes"]]
    assert len(pulls) == 36
    assert max(abs(pull) for pull in pulls) < 5
    # Bands of a galaxy share its morphology, so that 36 pulls are about 15 independent ones.
    assert 0.5 < (sum(pull**2 for pull in pulls) / len(pulls)) ** 0.5 < 1.4
