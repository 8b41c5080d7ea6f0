"""The audit by a made database: what it finds in the real lock, and that nothing makes it pass in silence."""

from __future__ import annotations

import json
import shutil
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from d4c_pipeline.model.errors import PermanentError
from supply_chain import advisories, audit, lock_file

NOW = datetime(2026, 12, 1, tzinfo=UTC)
PINS = {one.name: one for one in lock_file.read()}
CERTIFI = str(PINS["certifi"].version)


def document(name: str = "certifi", identifier: str = "PYSEC-2026-1", **changes: Any) -> dict[str, Any]:
    affected = {"package": {"ecosystem": "PyPI", "name": name}}
    affected["ranges"] = changes.pop("ranges", [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}])  # type: ignore[assignment]
    affected["versions"] = changes.pop("versions", [])
    basic = {"id": identifier, "modified": "2026-11-30T00:00:00Z", "summary": "A root that is trusted wrongly."}
    return {**basic, "affected": [affected], **changes}


def database(folder: Path, *documents: dict[str, Any]) -> Path:
    """Write documents as PyPA's repository has them: YAML in a folder of the package, beside files of its own."""
    folder.mkdir(exist_ok=True)
    (folder / ".github").mkdir(exist_ok=True)
    (folder / ".github" / "workflow.yaml").write_text("on: [push", "utf-8")
    (folder / "config.yaml").write_text("files: vulns", "utf-8")
    for number, one in enumerate(documents or (document("some-other-package", "PYSEC-2026-9"),)):
        place = folder / "vulns" / one["affected"][0]["package"]["name"]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{one.get('id', 'none')}-{number}.yaml").write_text(yaml.safe_dump(one), "utf-8")
    return folder


def project(tmp_path: Path, **accepted: Any) -> Path:
    path = tmp_path / "pyproject.toml"
    lines = [f"{name} = {value if name == 'until' else json.dumps(value)}" for name, value in accepted.items()]
    path.write_text("\n".join(["[[tool.d4c.audit.accepted]]", *lines] if lines else []), "utf-8")
    return path


def run(place: Path, project: Path | None = None, days: int = 30) -> int:
    return audit.audit(place, NOW, days, project=project or audit.PROJECT)


def fixed(version: str) -> list[dict[str, Any]]:
    return [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": version}]}]


def test_a_pin_with_an_advisory_fails_and_is_named_with_version_advisory_and_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mended = "9999.1"
    place = database(tmp_path / "db", document(aliases=["CVE-2026-12345"], ranges=fixed(mended)))
    assert run(place) == 1
    said = capsys.readouterr()
    assert said.err == (
        f"certifi {CERTIFI}: PYSEC-2026-1 (CVE-2026-12345): fixed in 9999.1. A root that is trusted wrongly.\n"
    )
    assert said.out == (
        f"Audit of {len(lock_file.read())} pins against 1 advisories on PyPI, the newest of 2026-11-30: "
        "1 open, 0 accepted.\n"
    )


def test_the_command_fails_by_the_setting_and_without_it_says_that_it_was_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    place = database(tmp_path / "db", document(modified=today))
    assert audit.main({"D4C_ADVISORIES": str(place)}) == 1
    assert f"certifi {CERTIFI}: PYSEC-2026-1: no fixed version is known." in capsys.readouterr().err
    assert audit.main({}) == 0
    assert "Audit skipped: D4C_ADVISORIES names no advisory database" in capsys.readouterr().out
    assert audit.main({"D4C_ADVISORIES": str(place), "D4C_ADVISORIES_DAYS": "many"}) == 1
    assert "D4C_ADVISORIES_DAYS=many is no number of days" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["missing", "empty", "other ecosystem", "text", "cut", "without id", "without name"])
def test_a_database_that_says_nothing_is_no_pass(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "db"
    if form == "empty":
        place.mkdir()
    elif form == "other ecosystem":
        foreign = document()
        foreign["affected"][0]["package"]["ecosystem"] = "npm"
        database(place, foreign)
    elif form == "text":
        place.write_text("not a zip", "utf-8")
    elif form == "cut":
        database(place)
        (place / "vulns" / "cut.json").write_text('{"id": "GHSA', "utf-8")
    elif form == "without id":
        database(place, document() | {"id": ""})
    elif form == "without name":
        nameless = document()
        database(place)
        del nameless["affected"][0]["package"]["name"]
        (place / "vulns" / "nameless.json").write_text(json.dumps(nameless), "utf-8")
    assert audit.main({"D4C_ADVISORIES": str(place)}) == 1
    assert "Error: " in capsys.readouterr().err


def test_a_database_that_nobody_updates_is_refused_with_its_age(tmp_path: Path) -> None:
    place = database(tmp_path / "db", document("some-other-package", modified="2026-10-31T23:59:59Z"))
    with pytest.raises(PermanentError, match=r"is of 2026-10-31, more than 30 days ago\. Update the database"):
        run(place)
    assert run(place, days=31) == 0


def test_json_in_folders_and_in_osvs_zip_is_read_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "GHSA-x.json").write_text(json.dumps(document(identifier="GHSA-xxxx-xxxx-xxxx")), "utf-8")
    packed = tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w") as target:
        target.write(folder / "GHSA-x.json", "GHSA-x.json")
    assert run(folder) == 1
    by_folder = capsys.readouterr()
    assert run(packed) == 1
    assert capsys.readouterr() == by_folder


def test_advisories_that_name_each_other_are_one_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = database(
        tmp_path / "db",
        document(identifier="GHSA-1", aliases=["CVE-1"]),
        document(identifier="PYSEC-1", aliases=["CVE-1", "GHSA-1"], ranges=fixed("9999.2")),
        document(identifier="PYSEC-2", aliases=["CVE-2"]),
        document(identifier="PYSEC-3", withdrawn="2026-11-01T00:00:00Z"),
    )
    assert run(place) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(". ")[0] for line in said] == [
        f"certifi {CERTIFI}: GHSA-1 (CVE-1, PYSEC-1): fixed in 9999.2",
        f"certifi {CERTIFI}: PYSEC-2 (CVE-2): no fixed version is known",
    ]


@pytest.mark.parametrize(
    ("ranges", "versions", "version", "affected"),
    [
        ([], ["1.0", "not-pep-440"], "1.0", True),
        ([], ["1.0"], "1.0.1", False),
        ([], ["1.0"], "1.0.0", True),  # the same version in PEP 440
        ([{"introduced": "0"}, {"fixed": "1.2"}], [], "1.2rc1", True),
        ([{"introduced": "0"}, {"fixed": "1.2"}], [], "1.2", False),
        ([{"introduced": "0"}, {"fixed": "1.2"}], [], "1.10", False),
        ([{"introduced": "1.0"}, {"fixed": "1.2"}], [], "0.9", False),
        ([{"introduced": "1.0"}, {"last_affected": "1.2"}], [], "1.2", True),
        ([{"introduced": "1.0"}, {"last_affected": "1.2"}], [], "1.2.post1", False),
        ([{"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "2.0"}, {"fixed": "2.3"}], [], "2.1", True),
        ([{"introduced": "2.0"}, {"introduced": "0"}, {"fixed": "2.3"}, {"fixed": "1.2"}], [], "1.5", False),
    ],
)
def test_which_version_is_affected_follows_osv(
    ranges: list[dict[str, str]], versions: list[str], version: str, affected: bool
) -> None:
    shape = {"ranges": [{"type": "ECOSYSTEM", "events": ranges}, {"type": "GIT", "events": [{"introduced": "0"}]}]}
    advisory = advisories.Advisory("X", (), PINS["certifi"].name, "", "x.yaml", shape | {"versions": versions})
    assert advisory.affects(Version(version)) is affected


def test_a_bound_that_is_no_version_is_told_and_not_passed_over(tmp_path: Path) -> None:
    place = database(tmp_path / "db", document(ranges=fixed("next spring")))
    with pytest.raises(PermanentError, match="bounds certifi by 'next spring', which is no version"):
        run(place)


def test_an_accepted_advisory_has_a_reason_and_a_last_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = database(tmp_path / "db", document(aliases=["CVE-7"]))
    entry = {"id": "CVE-7", "package": "certifi", "reason": "We trust no such root.", "until": "2026-12-01"}
    assert run(place, project(tmp_path, **entry)) == 0
    assert capsys.readouterr().out.startswith(
        f"accepted until 2026-12-01: certifi {CERTIFI}: PYSEC-2026-1 (CVE-7): no fixed version is known."
    )
    assert run(place, project(tmp_path, **entry | {"until": "2026-11-30"})) == 1
    assert "Accepted until 2026-11-30, which has passed: We trust no such root." in capsys.readouterr().err
    assert run(place, project(tmp_path, **entry | {"package": "numpy"})) == 1
    assert "CVE-7 of numpy is accepted in pyproject.toml and found nowhere" in capsys.readouterr().err
    for lacking in ({"reason": " "}, {"until": '"2026-12-01"'}, {"until": "2026-12-01T00:00:00Z"}):
        with pytest.raises(PermanentError, match="needs id, package, reason and until"):
            run(place, project(tmp_path, **entry | lacking))
    del entry["until"]
    with pytest.raises(PermanentError, match="needs id, package, reason and until"):
        run(place, project(tmp_path, **entry))


def test_what_is_accepted_here_is_read(tmp_path: Path) -> None:
    shutil.copy(audit.PROJECT, tmp_path)
    assert run(database(tmp_path / "db")) == 0


def test_age_is_counted_in_utc(tmp_path: Path) -> None:
    place = database(tmp_path / "db", document("some-other-package", modified="2026-11-30T20:00:00-04:00"))
    assert advisories.read(place, set()).modified == NOW
    assert timedelta(0) == NOW - advisories.read(place, set()).modified
