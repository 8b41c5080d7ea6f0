"""Settings: read from an environment, with clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.settings import Settings


def test_without_variables_everything_lies_in_a_hidden_folder_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert Settings.from_environment({}) == Settings(home=tmp_path / ".d4c")


def test_every_variable(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "D4C_HOME": str(tmp_path / "home"),
            "D4C_DEFS": f"{tmp_path / 'a'}:{tmp_path / 'b'}",
            "D4C_ORIGIN_MAP": "https://a.ca=http://127.0.0.1:8000, https://b.ca/=http://127.0.0.1:8001/",
            "D4C_STORE_URL": "https://data.example.org/",
            "D4C_LEDGER_URL": "postgresql://d4c@db/d4c",
            "D4C_TRACKERS": "udp://one:1/announce, https://two/announce,",
            "D4C_TORRENT_HYBRID": "1",
        }
    )

    assert settings == Settings(
        home=tmp_path / "home",
        definitions=(tmp_path / "a", tmp_path / "b"),
        origins={"https://a.ca": "http://127.0.0.1:8000", "https://b.ca": "http://127.0.0.1:8001"},
        store_url="https://data.example.org",
        ledger_url="postgresql://d4c@db/d4c",
        trackers=("udp://one:1/announce", "https://two/announce"),
        hybrid_torrents=True,
    )


def test_the_process_environment_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_HOME", str(tmp_path / "mine"))

    assert Settings.from_environment().home == tmp_path / "mine"


def test_a_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert Settings.from_environment({"D4C_HOME": "data"}).home == tmp_path / "data"


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_hybrid_torrents_are_off(value: str) -> None:
    assert Settings.from_environment({"D4C_TORRENT_HYBRID": value}).hybrid_torrents is False


@pytest.mark.parametrize("value", ["https://a.ca", "https://a.ca=127.0.0.1:8000", "a.ca=http://127.0.0.1", "=http://x"])
def test_a_wrong_origin_map_is_refused(value: str) -> None:
    with pytest.raises(PermanentError, match=r"D4C_ORIGIN_MAP has .*Write origin=origin pairs"):
        Settings.from_environment({"D4C_ORIGIN_MAP": value})
