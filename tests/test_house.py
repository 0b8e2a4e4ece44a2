"""The house rules that a machine can check: who imports whom, what stays out of the tree, what stays fast."""

import ast
import fnmatch
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import scoresample

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "scoresample"

# What each package may import of ours, besides itself and errors.py.
MAY_IMPORT = {
    "numerics": set(),
    "data": {"numerics"},
    "models": {"numerics", "data"},
    "training": {"numerics", "data", "models"},
    "density": {"numerics", "data", "models"},
    "samplers": {"numerics", "density"},
    "diagnostics": {"numerics", "data", "models", "density", "samplers"},
    "products": {"numerics", "data", "models", "training", "density", "samplers", "diagnostics"},
}
# Above them all: the command line, and the public names themselves.
TOP = {"cli", "__main__", "__init__"}

# Where each guest may be imported, as patterns of paths inside the package.
ROOMS = {
    "arviz_base": ["diagnostics/*", "products/archive.py"],
    "arviz_stats": ["diagnostics/*"],
    "astropy": ["data/*", "products/*", "training/demo_scene.py", "training/cutouts.py"],
    "blackjax": ["samplers/*"],
    "click": ["cli.py", "cli/*", "__main__.py"],
    "galsim": ["training/*"],
    "h5netcdf": ["products/archive.py"],
    "h5py": ["products/archive.py"],
    "matplotlib": ["products/*"],
    "numpyro": [
        "models/priors*.py",
        "density/flux_prior*.py",
        "density/numpyro_model.py",
        "density/parameters.py",
        "density/posterior.py",
    ],
    "scarlet2": ["products/blends_scarlet2.py"],
    "proxmin": ["products/blends_constrained.py"],
    "optax": ["samplers/*", "training/*"],
    "xarray": ["diagnostics/*", "products/archive.py"],
}
NEVER = {"arviz", "torch", "tensorflow", "flax", "pytest", "beartype"}


def imported_names(source: str) -> Iterator[str]:
    """Give the dotted name of every module that a source imports, at any depth, and of what it takes from it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level + (node.module or "")
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(path: str, source: str) -> list[str]:
    """Return one line for each import in a file, named by its path inside the package, that breaks a rule."""
    room = path.split("/")[0].removesuffix(".py")
    found = []
    for name in imported_names(source):
        first, _, rest = name.partition(".")
        if not first:
            found.append(f"{path}: relative import {name}; write it in full")
        elif first in NEVER:
            found.append(f"{path}: {first} is no guest of this house")
        elif first in ROOMS and not any(fnmatch.fnmatch(path, pattern) for pattern in ROOMS[first]):
            found.append(f"{path}: {first} has its room in {', '.join(ROOMS[first])}")
        elif first == "scoresample" and room not in TOP:
            package = rest.split(".")[0]
            if package not in {"errors", room} | MAY_IMPORT.get(room, set()):
                found.append(f"{path}: {room} must not import {name}")
    return found


def test_every_package_imports_only_from_its_left_and_guests_stay_in_their_rooms():
    files = sorted(PACKAGE.rglob("*.py"))
    assert files
    found = [f for path in files for f in faults(path.relative_to(PACKAGE).as_posix(), path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("numerics/fft.py", "from scoresample.data.frame import Frame"),
        ("samplers/hmc.py", "import scoresample.models.scene"),
        ("density/terms.py", "from scoresample import sample"),
        ("models/source.py", "def f():\n    import astropy.units as u"),
        ("models/scene.py", "from numpyro import distributions"),
        ("data/frame.py", "from .catalog import Catalog"),
        ("diagnostics/report.py", "import arviz as az"),
    ],
)
def test_that_test_sees_each_kind_of_fault(path, source):
    assert len(faults(path, source)) == 1


def test_every_package_of_the_house_is_in_the_table():
    assert {p.parent.name for p in PACKAGE.glob("*/__init__.py")} - {"cli", "resources"} == set(MAY_IMPORT)


def test_package_init_files_hold_a_docstring_and_nothing_else():
    for path in PACKAGE.glob("*/__init__.py"):
        if path.parent.name != "cli":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, f"{path} has code"
            assert isinstance(body[0], ast.Expr), f"{path} has code"


def test_every_public_name_exists_once_and_says_what_it_is():
    names = scoresample.__all__
    assert len(names) == len(set(names))
    silent = [name for name in names if name != "__version__" and not getattr(scoresample, name).__doc__]
    assert not silent, f"no docstring: {silent}"
    assert set(names) <= set(dir(scoresample))


def test_importing_the_package_imports_no_guest():
    guests = ["jax", "numpy", "equinox", *ROOMS]
    code = f"import sys, scoresample; print([g for g in {guests} if g in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def files_of_the_tree() -> list[Path]:
    """Return every file that is in the git tree or would be with the next `git add`."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_of_the_tree_names_a_path_of_one_machine():
    places = [b"/" + place + b"/" for place in (b"work", b"root", b"home", b"Users")]
    found = [str(path) for path in files_of_the_tree() for place in places if place in path.read_bytes()]
    assert not found, f"machine paths in {found}"


def test_the_lock_has_every_dependency_and_names_no_host():
    lock = (ROOT / "requirements" / "lock.txt").read_text()
    locked = set(re.findall(r"^([\w.-]+)==\S+", lock, flags=re.MULTILINE))
    assert len(lock.splitlines()) == len(re.findall(r"^[\w.-]+==\S+(?: ; .+)?$", lock, flags=re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    for extra in ("plot", "sim", "bench", "test"):
        wanted += project["project"]["optional-dependencies"][extra]
    names = {re.match(r"[\w.-]+", requirement)[0] for requirement in wanted} - {"scoresample"}
    assert names <= locked, f"not locked: {names - locked}; see CONTRIBUTING for the command"
