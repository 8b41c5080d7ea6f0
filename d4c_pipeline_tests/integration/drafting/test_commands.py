"""The commands of drafting: what they print, what they write, and their exit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from d4c_pipeline.commands.main import app
from d4c_pipeline.model.errors import DataError, PermanentError

CSV = "park_id,name,lon,lat\n1,Mont-Tremblant,-74.6,46.4\n2,Forillon,-64.3,48.9\n"
TABLE = """<standard_name_table><version_number>{}</version_number>{}</standard_name_table>"""


def test_a_draft_is_printed_or_written_with_its_gaps(tmp_path: Path) -> None:
    (tmp_path / "parks.csv").write_text(CSV)
    arguments = ["draft", str(tmp_path / "parks.csv"), "--home", str(tmp_path / "home"), "--package", "foundation"]
    printed = CliRunner().invoke(app, arguments)
    assert "  key: [park_id]\n" in printed.stdout
    assert "package: d4c-datapkg-foundation\n" in printed.stdout
    assert "license: Find the licence at the publisher" in printed.stderr
    written = CliRunner().invoke(app, [*arguments, "--into", str(tmp_path / "defs"), "--id", "parks", "--json"])
    told = json.loads(written.stdout)
    assert told["path"] == str(tmp_path / "defs" / "parks" / "defs.yaml")
    assert told["fields"]["processing.longitude"]["value"] == "lon"
    assert (told["rows"], told["bounds"]) == (2, [-74.6, 46.4, -64.3, 48.9])
    assert "name.region" in [gap["field"] for gap in told["gaps"]]
    refused = CliRunner().invoke(app, [*arguments, "--into", str(tmp_path / "defs"), "--id", "Parks of Quebec"])
    assert isinstance(refused.exception, PermanentError)
    assert "'Parks of Quebec' is not an identifier" in str(refused.exception)
    wrong = CliRunner().invoke(app, [*arguments, "--package", "Our parks"])
    assert "'Our parks' is not a package" in str(wrong.exception)


def test_vocabularies_are_imported_searched_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_HOME", str(tmp_path / "home"))
    old, new = (tmp_path / f"cf{version}.xml" for version in (84, 85))
    old.write_text(TABLE.format(84, '<entry id="exchange rates"/><entry id="air_temperature"/>'))
    new.write_text(TABLE.format(85, '<entry id="air_temperature"/>'))
    run = CliRunner().invoke
    assert run(app, ["vocabulary", "import", str(old)]).stdout == "cf_standard_names 84: 2 terms, imported\n"
    assert run(app, ["vocabulary", "import", str(old)]).stdout == "cf_standard_names 84: 2 terms, already there\n"
    assert json.loads(run(app, ["vocabulary", "dropped", "--json"]).stdout) == []
    run(app, ["vocabulary", "import", str(new)])
    (dropped,) = json.loads(run(app, ["vocabulary", "dropped", "--json"]).stdout)
    assert (dropped["dataset"], dropped["keyword"], dropped["last"], dropped["current"]) == (
        "statcan_foreign_exchange_rates_daily",
        "exchange rates",
        "84",
        "85",
    )
    listed = json.loads(run(app, ["vocabulary", "list", "--json"]).stdout)
    assert [each["version"] for each in listed] == ["85", "84"]
    found = json.loads(run(app, ["vocabulary", "search", "cf_standard_names", "AIR", "--json"]).stdout)
    assert [each["id"] for each in found] == ["air_temperature"]
    assert isinstance(run(app, ["vocabulary", "import", str(tmp_path / "none.xml")]).exception, DataError)
