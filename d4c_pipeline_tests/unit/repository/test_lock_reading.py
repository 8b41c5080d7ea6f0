"""How the lock is read: every pin, or an error that names the line. What is overlooked is never audited."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.version import Version

from d4c_pipeline.model.errors import PermanentError
from supply_chain import lock_file

SHA = "0" * 64


def lock(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(text, "utf-8")
    return path


def test_every_line_that_pins_is_read_with_all_of_its_hashes() -> None:
    text = lock_file.LOCK.read_text("utf-8")
    packages = lock_file.read()
    assert len(packages) == len(re.findall(r"^\S+==", text, re.MULTILINE))
    assert sum(len(one.hashes) for one in packages) == text.count("--hash=sha256:")


def test_markers_part_two_pins_of_one_name(tmp_path: Path) -> None:
    old, new = lock_file.read(
        lock(
            tmp_path,
            f"numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:{SHA}\n    # via\n"
            "    #   d4c-pipeline (pyproject.toml)\n    #   d4c-pipeline (pyproject.toml:dev)\n    #   Shapely\n"
            f"numpy==2.5.5 ; python_full_version >= '3.12' \\\n    --hash=sha256:{SHA}\n    # via shapely\n",
        )
    )
    assert (old.version, old.marker, old.declared_by) == (
        Version("2.4.6"),
        'python_full_version < "3.12"',
        ("dev", "project"),
    )
    assert (new.version, new.required_by, new.declared_by) == (Version("2.5.5"), ("shapely",), ())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("requests>=2", "requirements.lock:1 is no pin"),
        ("requests==2.*", "requirements.lock:1 is no pin"),
        ("requests @ https://example.ca/requests.whl", "requirements.lock:1 is no pin"),
        ("-e .", "requirements.lock:1 is no pin"),
        ("requests==2.0", "pins requests without a hash"),
        ("requests==2.0 \\\n    --hash=md5:abc", "requirements.lock:2 is no pin"),
        ("# nothing", "pins nothing"),
    ],
)
def test_a_line_of_another_form_is_refused_and_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(PermanentError, match=re.escape(said)):
        lock_file.read(lock(tmp_path, line + "\n"))
