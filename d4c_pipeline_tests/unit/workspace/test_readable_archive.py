"""The archive that published records are read from: its name, and addresses that hold a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.workspace.archive import readable_archive


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"D4C_HOME": str(tmp_path / "home")})


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://archive.example.org", "archive.example.org"),
        ("https://archive.example.org:8443/base/", "archive.example.org:8443"),
        ("http://[::1]:5000", "[::1]:5000"),
        ("HTTPS://archive.example.org", "archive.example.org"),
        ("zenodo", "zenodo.org"),
    ],
)
def test_an_archive_is_named_by_its_host(settings: Settings, source: str, name: str) -> None:
    with readable_archive(settings, source) as archive:
        assert archive.name == name


@pytest.mark.parametrize(
    "source",
    [
        "https://user:s3cret@archive.example.org",
        "https://:s3cret@archive.example.org",
        "https://s3cret@archive.example.org",
        "HTTPS://:s3cret@archive.example.org",
        " https://:s3cret@archive.example.org",
        "https://user:s3cret/@archive.example.org",
        "https://user:s3cret",
        "https://[s3cret@archive.example.org",
        "https://archive.example.org?token=s3cret",
        "https:user:s3cret@archive.example.org",
    ],
)
def test_an_address_with_a_password_is_refused_and_never_shown(settings: Settings, source: str) -> None:
    with (
        pytest.raises(UnknownNameError, match="address of the archive can't be used") as raised,
        readable_archive(settings, source),
    ):
        pass
    assert "s3cret" not in str(raised.value)
