"""Install what is needed into .venv, once, and run scoresample or its tests.

    python3 run.py demo              the shipped scene, from pixels to a flux catalog
    python3 run.py test [ARGS...]    style, types and tests; ARGS go to pytest
    python3 run.py COMMAND ...       any other command of scoresample, see `python3 run.py --help`

Needs Python 3.11 or newer on Linux or macOS, and nothing else: uv is fetched into .uvboot when it is not there.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - an old Python reads this far, and must parse the rest
    sys.exit(
        f"run.py needs Python 3.11 or newer, this is {sys.version.split()[0]} at {sys.executable}; "
        "start it with a newer one, for example python3.12 run.py"
    )

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements" / "lock.txt"
VENV = ROOT / ".venv"
BOOT = ROOT / ".uvboot"
STAMP = VENV / ".installed"
PYTHON = VENV / "bin" / "python"
BASE = Path(getattr(sys, "_base_executable", sys.executable))  # not that of a .venv about to be replaced
CHECKS = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["ty", "check"])


def clean_environment() -> dict[str, str]:
    """Return the environment without settings that would bend an install or another Python's imports.

    Of pip's and uv's settings only those that say where packages come from stay (index, certificate, proxy),
    and pip's reach uv under uv's names.
    """
    where = re.compile("INDEX|LINKS|CERT|PROXY|HOST|TIMEOUT|CACHE|TLS|KEYRING|OFFLINE")
    harmless = {
        "PYTHONUNBUFFERED",
        "PYTHONUTF8",
        "PYTHONIOENCODING",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHASHSEED",
    }

    def wanted(name: str) -> bool:
        if name.startswith(("PIP_", "UV_")):
            return bool(where.search(name))
        return name not in ("VIRTUAL_ENV", "__PYVENV_LAUNCHER__") and (
            not name.startswith("PYTHON") or name in harmless
        )

    kept = {name: value for name, value in os.environ.items() if wanted(name)}
    for pip_name, uv_name in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_CERT", "SSL_CERT_FILE")):
        if pip_name in kept:
            kept.setdefault(uv_name, kept[pip_name])
    machine = ssl.get_default_verify_paths()
    if machine.cafile or (machine.capath and os.listdir(machine.capath)):
        kept.setdefault("UV_NATIVE_TLS", "1")  # uv's own roots do not know a proxy that the machine trusts
    kept["PIP_USER"] = "0"  # a configuration file may ask for --user, which fails in a virtual environment
    return kept


def call(command: list, env: dict[str, str], **options) -> subprocess.CompletedProcess:
    """Run a program that must not wait for input."""
    return subprocess.run(
        [str(c) for c in command], env=env, stdin=subprocess.DEVNULL, check=False, **options
    )


def answers(command: list, env: dict[str, str]) -> str:
    """Return what a command prints, or nothing when it fails or cannot be started."""
    try:
        done = call(command, env, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def remove(path: Path) -> None:
    """Remove a folder, file or link, whatever stands there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def find_uv(env: dict[str, str]) -> str:
    """Return a working uv: that of the machine, or our own, fetched by pip into .uvboot."""
    own = str(BOOT / "bin" / "uv")
    for uv in (shutil.which("uv"), own):  # a shim can be on the PATH and still not run
        version = re.match(r"uv (\d+)\.(\d+)", answers([uv, "--version"], env)) if uv else None
        if version and (int(version[1]), int(version[2])) >= (0, 5):
            return uv
    remove(BOOT)
    arguments = ["install", "-q", "--disable-pip-version-check", "uv>=0.8"]
    if importlib.util.find_spec("ensurepip"):
        done = call([BASE, "-m", "venv", BOOT], env)
        if done.returncode == 0:
            done = call([BOOT / "bin" / "python", "-m", "pip", *arguments], env)
    elif importlib.util.find_spec("pip"):
        done = call([BASE, "-m", "pip", *arguments, "--target", BOOT], env)
    else:
        sys.exit(
            f"{BASE} has neither ensurepip nor pip, and uv is not on the PATH; install one of them, "
            "on Debian and Ubuntu with: apt-get install python3-venv"
        )
    if done.returncode != 0 or not answers([own, "--version"], env):
        sys.exit(
            "pip could not install uv, see above; check the network, or put uv on the PATH, and run again"
        )
    return own


def state() -> str:
    """Return the hash of all that an installed .venv depends on; a moved checkout or another Python shows."""
    parts = [str(ROOT), sys.version, os.path.realpath(BASE), "1"]
    text = "\0".join(parts).encode() + LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    return hashlib.sha256(text).hexdigest()


def is_installed(env: dict[str, str]) -> bool:
    """Say whether .venv was finished from this very state, and still imports the package."""
    try:
        stamp = STAMP.read_text()
    except OSError:
        return False
    return stamp == state() and bool(answers([PYTHON, "-I", "-c", "import scoresample; print('ok')"], env))


def install(env: dict[str, str]) -> None:
    """Build .venv anew from the lock; the stamp comes last, so that an interrupted build is not trusted."""
    print("Setting up .venv; this happens once and takes a few minutes at most.", file=sys.stderr, flush=True)
    uv = find_uv(env)
    cache = Path(answers([uv, "cache", "dir"], env) or BOOT / "cache")
    existing = next(p for p in (cache, *cache.parents) if p.exists())
    if not os.access(existing, os.W_OK):
        env = {**env, "UV_CACHE_DIR": str(BOOT / "cache")}
    quiet = [] if sys.stderr.isatty() else ["-q"]
    remove(VENV)
    # Compiled once here: where PYTHONDONTWRITEBYTECODE is set every start would compile the whole stack again.
    packages = ["--no-deps", "--compile-bytecode", "-r", LOCK, "-e", ROOT]
    for step in (
        ["venv", "-q", "--python", BASE, VENV],
        ["pip", "install", *quiet, "--python", PYTHON, *packages],
    ):
        if call([uv, *step], env, cwd=ROOT).returncode != 0:
            sys.exit(
                "uv could not build .venv, see above; check the network and the free disk space, and run again"
            )
    STAMP.write_text(state())


def run_tests(arguments: list[str], env: dict[str, str]) -> int:
    """Run the checks of style and types, then pytest, and return the status of all together."""
    os.chdir(ROOT)
    programs = PYTHON.parent
    failed = []
    for program, *rest in CHECKS:
        print(f"== {program} {' '.join(rest)}", flush=True)
        if call([programs / program, *rest], env).returncode != 0:
            failed.append(f"{program} {rest[0]}")
    # All tests share the cores; a few named ones start sooner without.
    workers = [] if arguments else ["-n", str(min(4, os.cpu_count() or 1))]
    status = subprocess.run([PYTHON, "-m", "pytest", *workers, *arguments], env=env, check=False).returncode
    if failed:
        print(f"failed before pytest, see above: {', '.join(failed)}", file=sys.stderr)
    return status or int(bool(failed))


def main(arguments: list[str]) -> int:
    """Make sure of the environment, then hand over to the tests or the command line."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    env = clean_environment()
    if not is_installed(env):
        install(env)
    if arguments[0] == "test":
        return run_tests(arguments[1:], env)
    sys.stdout.flush()
    # Replaced, not called: the exit status, and a Ctrl-C that keeps what is done, are those of scoresample.
    os.execve(PYTHON, [str(PYTHON), "-P", "-m", "scoresample", *arguments], env)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
