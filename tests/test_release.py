"""What is released: wheel and sdist are whole and install, units and images are sound.

Runs in an environment of its own, which has the tools; it installs what FDSS needs anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

import fdss

pytestmark = pytest.mark.release

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
INSTALL_TIMEOUT_S = 900
#: What a checkout holds beside its sources.
LEFT_OUT = shutil.ignore_patterns(".*", "build", "site", "*.egg-info", "__pycache__")


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=INSTALL_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the wheel and the sdist of a fresh copy of the sources."""
    source = tmp_path_factory.mktemp("release") / "source"
    shutil.copytree(ROOT, source, ignore=LEFT_OUT)
    out = source.with_name("dist")
    _run(sys.executable, "-m", "build", "--outdir", out, source)
    return out


def _modules(names: list[str]) -> set[str]:
    return {name for name in names if name.startswith("fdss/")}


def test_the_wheel_holds_the_packages_and_nothing_else(released: Path) -> None:
    """Every source and data file of the packages is in the wheel, and no test is."""
    (wheel,) = released.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    places = {"fdss": ROOT / "fdss", "fdss/client": ROOT / "client", "fdss/cli": ROOT / "cli"}
    expected = {
        f"{package}/{file.relative_to(folder).as_posix()}"
        for package, folder in places.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }

    assert _modules(names) == expected
    assert {name.split("/")[0] for name in names} == {
        "fdss",
        f"fdss-{fdss.__version__}.dist-info",
    }


def test_the_sdist_can_be_tested(released: Path) -> None:
    """The sdist holds what the tests need beside the sources."""
    (sdist,) = released.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        names = {"/".join(name.split("/")[1:]) for name in opened.getnames()}

    for needed in ("tox.ini", "setup.py", "tests/conftest.py", "docs/operations.md", "README.md"):
        assert needed in names


def test_the_index_would_take_both(released: Path) -> None:
    """Metadata and description are as an index wants them."""
    _run(sys.executable, "-m", "twine", "check", "--strict", *released.iterdir())


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_a_fresh_installation_runs_the_demo(released: Path, tmp_path: Path, kind: str) -> None:
    """From either file, in an environment with nothing else, a server serves and a client reads."""
    (package,) = released.glob(kind)
    environment = tmp_path / "environment"
    _run(sys.executable, "-m", "venv", environment)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    _run(scripts / "python", "-m", "pip", "install", "--quiet", package)

    assert fdss.__version__ in _run(scripts / "fdss", "--version", cwd=tmp_path)
    assert "exactly once" in _run(scripts / "fdss", "demo", "--rows", "2000", cwd=tmp_path)
    _run(scripts / "python", "-m", "pip", "check")


def test_the_image_is_built_of_all_that_an_installation_needs(tmp_path: Path) -> None:
    """What the image's build may see is enough to build the wheel."""
    rules = (EXAMPLES / "docker" / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    seen = tmp_path / "seen"
    for name in kept:
        found = ROOT / name
        if found.is_dir():
            shutil.copytree(found, seen / name, ignore=LEFT_OUT)
        else:
            shutil.copy(found, seen / name)
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "dist", seen)

    assert [path.suffix for path in (tmp_path / "dist").iterdir()] == [".whl"]
    assert not any(fnmatch(name, "test*") for name in kept)


def test_the_image_has_no_known_fault() -> None:
    """A linter of container files finds nothing, hints included."""
    _run("hadolint", "--failure-threshold", "info", EXAMPLES / "docker" / "Dockerfile")


def test_the_manifests_are_those_of_kubernetes() -> None:
    """Every field of the manifests is one that Kubernetes knows."""
    folder = EXAMPLES / "kubernetes"
    manifests = [path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"]

    assert "passed" in _run("kubernetes-validate", "--strict", *manifests)


@pytest.mark.only_on("linux")
@pytest.mark.parametrize("name", ["fdss", "fdss-router"])
def test_the_units_are_those_of_systemd(name: str, tmp_path: Path) -> None:
    """systemd finds no fault in a unit, and calls its exposure low."""
    unit = tmp_path / f"{name}.service"
    text = (EXAMPLES / "systemd" / unit.name).read_text("utf-8")
    # A unit is faulty whose program is not there.
    unit.write_text(text.replace("/opt/fdss/bin/fdss", str(Path(sys.executable))), "utf-8")

    assert _run("systemd-analyze", "verify", unit) == ""
    _run("systemd-analyze", "security", "--offline=true", "--threshold=40", unit)
