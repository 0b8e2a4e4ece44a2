"""Settings and fixtures shared by all tests."""

import os
import signal
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports pyplot: no window in a test

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
MEMORY_MAPS = Path("/proc/self/maps")
SEED_SHIFT = int(os.environ.get("SCORESAMPLE_TEST_SEED", "0"))


def pytest_report_header() -> str:
    """Say what a failure needs to be repeated: seed, precision and version."""
    return f"jax {jax.__version__}, x64 {jax.config.jax_enable_x64}, SCORESAMPLE_TEST_SEED {SEED_SHIFT}"


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_as_at_a_terminal():
    """Let Ctrl-C interrupt: a script's background jobs, which may be what runs the tests, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module", autouse=True)
def compiled_code_that_piles_up_is_let_go():
    """Forget compiled code between files of tests: each piece is memory maps, of which Linux allows 65,530."""
    yield
    if MEMORY_MAPS.exists() and MEMORY_MAPS.read_text().count("\n") > 15_000:
        jax.clear_caches()


@pytest.fixture(scope="session")
def seed_shift() -> int:
    """The number that SCORESAMPLE_TEST_SEED adds to every fixed seed; 0 unless it is set."""
    return SEED_SHIFT


@pytest.fixture
def key() -> jax.Array:
    """A fixed random key; SCORESAMPLE_TEST_SEED moves it."""
    return jax.random.key(20 + SEED_SHIFT)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real and simulated scenes; the test is skipped where there is none."""
    folder = Path(os.environ.get("SCORESAMPLE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no scene files at {folder}; set SCORESAMPLE_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def compilations():
    """Count what JAX compiles: call it for the number so far."""
    seen = []

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield lambda: len(seen)
    jax.monitoring.unregister_event_duration_listener(listen)
