"""Assessments of real files and of hostile ones: what is seen, what is judged, and what is never requested."""

from __future__ import annotations

import io
import json
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.appraisal import assessment, quarantine
from d4c_pipeline.appraisal.assessment import assess
from d4c_pipeline.appraisal.policy import policy_of
from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.errors import BusyError, PermanentError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.submission import SubmissionRecord, SubmissionState
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline_tests.integration.appraisal.conftest import CSV, ORIGIN
from d4c_pipeline_tests.support.submitted import submission

S = SubmissionState


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.in_folder(tmp_path)) as opened:
        yield opened


@pytest.fixture
def look(ledger: Ledger, tmp_path: Path, origins: dict[str, str]) -> Callable[..., SubmissionRecord]:
    """Submit, put uploads into the quarantine, assess."""

    def run(uploads: dict[str, bytes] | None = None, **changes: Any) -> SubmissionRecord:
        changes = {"sources": None, "upload": True} | changes if uploads else changes
        record, _ = ledger.submissions.add(submission(**changes))
        for name, content in (uploads or {}).items():
            (quarantine.upload_folder(tmp_path, record.id) / name).write_bytes(content)
        ledger.submissions.complete_files(record.id)
        return assess(ledger, Settings(home=tmp_path, origins=origins), record.id)

    return run


def verdicts(record: SubmissionRecord) -> dict[str, str]:
    assert record.assessment is not None
    return {each["criterion"]: each["verdict"] for each in record.assessment["criteria"]}


def said(record: SubmissionRecord, criterion: str, language: str = "sentence") -> str:
    assert record.assessment is not None
    return next(each[language] for each in record.assessment["criteria"] if each["criterion"] == criterion)


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def test_a_table_of_a_source_is_read_and_judged(look: Callable[..., SubmissionRecord]) -> None:
    record = look(sources=[f"{ORIGIN}/trees.csv"])
    assert record.state is S.IN_APPRAISAL
    assert verdicts(record) == dict.fromkeys(
        ("scope", "rights", "quality", "format", "size", "uniqueness", "cost"), "pass"
    )
    assert record.assessment is not None
    (file,) = record.assessment["files"]
    assert (file["name"], file["size"], file["address"]) == ("trees.csv", len(CSV), f"{ORIGIN}/trees.csv")
    (part,) = file["parts"]
    assert (part["rows"], part["columns"], part["empty"]) == (2, ["species", "diameter", "note"], ["note"])
    assert part["encoding"].lower().replace("-", "") == "utf8"
    assert said(record, "quality") == "2 rows and 3 columns were read in 1 tables or layers."
    assert said(record, "rights", "sentence_fr") == "La licence est Open Government Licence - Canada 2.0."
    (history,) = record.assessment["history"]
    assert (history["address"], history["versions"]) == (f"{ORIGIN}/trees.csv", [])
    assert history["sentence_fr"] == "La source n'indique aucun historique."


def test_a_layer_has_a_crs_and_an_extent_in_degrees(look: Callable[..., SubmissionRecord]) -> None:
    geojson = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {"n": n}, "geometry": {"type": "Point", "coordinates": [-75 - n, 45 + n]}}
            for n in range(3)
        ],
    }
    record = look({"places.geojson": json.dumps(geojson).encode()}, bounds=None)
    assert record.assessment is not None
    (part,) = record.assessment["files"][0]["parts"]
    assert (part["rows"], part["is_spatial"], part["bounds"]) == (3, True, [-77.0, 45.0, -75.0, 47.0])
    assert said(record, "scope") == "The extent (-77, 45, -75, 47) meets Canada."
    far = json.dumps(geojson).replace("-75", "5").replace("-76", "6").replace("-77", "7").encode()
    assert verdicts(look({"far.geojson": far}, title="Far", bounds=None))["scope"] == "failure"


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/x.csv",
        "http://[::1]/x.csv",
        "http://10.0.0.7/x.csv",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:192.168.0.1]/x.csv",
        "http://127.1/x.csv",
        "http://0x7f000001/x.csv",
        "http://2130706433/x.csv",
        "http://localhost/x.csv",
        "http://db.internal/x.csv",
        "http://printer/x.csv",
    ],
)
def test_a_private_address_is_refused_without_a_request(
    look: Callable[..., SubmissionRecord], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("a request was sent")

    monkeypatch.setattr(socket.socket, "connect", connect)
    record = look(sources=[address])
    assert verdicts(record)["quality"] == "failure"
    assert f"{address} is no public address" in said(record, "quality")


def test_a_redirect_and_a_name_into_the_network_are_refused(
    look: Callable[..., SubmissionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def lying(host: str, port: Any, *rest: Any, **named: Any) -> Any:
        inner = {"inner.example.ca": "192.168.7.7", "rebound.example.ca": "10.1.2.3"}
        return resolve(inner.get(host, host), port, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lying)
    record = look(sources=[f"{ORIGIN}/inner", f"{ORIGIN}/name", "http://rebound.example.ca/x.csv"])
    text = said(record, "quality")
    for address in ("169.254.169.254", "192.168.7.7", "10.1.2.3"):
        assert f"resolves to {address}, which is no public address" in text
    assert verdicts(record)["quality"] == "failure"
    assert record.assessment is not None
    assert record.assessment["files"] == []


def test_an_expired_link_and_a_page_are_told_apart(look: Callable[..., SubmissionRecord]) -> None:
    record = look(sources=[f"{ORIGIN}/gone.csv", f"{ORIGIN}/page"])
    assert "gone.csv can't be fetched" in said(record, "quality")
    assert "410" in said(record, "quality")
    assert verdicts(record)["quality"] == "failure"
    assert (verdicts(record)["format"], said(record, "format")) == (
        "warning",
        f"{ORIGIN}/page is a web page: a specialist has to find its files.",
    )


def test_50_gb_are_declined_by_rule_without_a_fetch(look: Callable[..., SubmissionRecord], ledger: Ledger) -> None:
    stated = look(size="50 GB", sources=[f"{ORIGIN}/trees.csv"])
    assert stated.state is S.DECLINED
    served = look(size=None, sources=[f"{ORIGIN}/sized.csv"])
    assert served.state is S.DECLINED
    event = ledger.submissions.events(served.id)[-1]
    assert event.reason == "The files have 50.0 GB; the quota is 20.0 GB."
    assert event.detail["alternatives"][:2] == ["open-canada", "frdr"]


def test_a_file_without_a_stated_length_ends_at_the_quota(
    ledger: Ledger, tmp_path: Path, origins: dict[str, str]
) -> None:
    own = tmp_path / "policy.yaml"
    shipped = Path(assessment.__file__).with_name("policy.yaml").read_text("utf-8")
    own.write_text(shipped.replace("largest: 20 GB", "largest: 100 KB"), "utf-8")
    number = ledger.submissions.add(submission(size=None, sources=[f"{ORIGIN}/endless.csv"]))[0].id
    settings = Settings(home=tmp_path, origins=origins)
    record = assess(ledger, settings, number, appraisal=AppraisalSettings(policy=own))
    assert record.state is S.DECLINED
    assert not quarantine.submission_folder(tmp_path, number).exists()
    # The 12 MB of the source never arrived.
    assert int(record.assessment["size"] if record.assessment else 0) < 12_000_000


def test_a_zip_bomb_a_false_suffix_and_a_program_are_failures(
    look: Callable[..., SubmissionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("D4C_UNPACK_BYTES", "10MB")
    bomb = zipped(data__csv=b"a,b\n" + b"0,0\n" * 5_000_000)
    assert len(bomb) < 100_000
    record = look({
        "bomb.zip": bomb,
        "data.gpkg": b"not a database" * 100,
        "table.csv": zipped(x__csv=CSV),
        "run.csv": b"MZ" + bytes(100),
        "fine.csv": CSV,
    })  # fmt: skip
    text = said(record, "format")
    assert "D4C_UNPACK_BYTES" not in text  # the remedy is for operators
    assert "bomb.zip" in text
    assert "data.gpkg is no .gpkg file" in text
    assert "table.csv is no text, but a zip archive or a workbook" in text
    assert "run.csv is no text, but a program" in text
    assert verdicts(record)["format"] == "failure"
    assert record.assessment is not None
    assert [file["name"] for file in record.assessment["files"] if "problem" not in file] == ["fine.csv"]


def test_a_licence_that_forbids_redistribution_is_declined_by_rule(
    look: Callable[..., SubmissionRecord], ledger: Ledger
) -> None:
    record = look(licence="All rights reserved", language="fr", sources=[f"{ORIGIN}/trees.csv"])
    assert record.state is S.DECLINED
    event = ledger.submissions.events(record.id)[-1]
    assert event.who == f"appraisal policy {policy_of(AppraisalSettings()).version}"
    assert event.reason == (
        "La licence « All rights reserved » interdit la redistribution ou l'adaptation (« all rights reserved »)."
    )
    assert (event.detail["criteria"], event.detail["alternatives"]) == (["rights"], ["borealis", "zenodo", "gbif"])
    assert event.detail["reasons"]["fr"] == event.reason
    assert event.detail["reasons"]["en"].startswith("The licence 'All rights reserved' forbids redistribution")


def test_duplicates_are_found_by_checksum_address_and_other_submissions(
    look: Callable[..., SubmissionRecord], ledger: Ledger
) -> None:
    first = look({"trees.csv": CSV}, title="First")
    assert verdicts(first)["uniqueness"] == "pass"
    second = look({"copy.csv": CSV}, title="Second")
    assert said(second, "uniqueness") == f"Submission {first.id} has the same files."
    assert verdicts(second)["uniqueness"] == "failure"
    native = NativeFile("t.csv", f"{ORIGIN}/trees.csv", "0" * 64, 3, None, None, None, "raw/x")
    ledger.natives.record("trees", Vintage.parse("2025"), [native], "cc0-1.0")
    third = look(sources=[f"{ORIGIN}/trees.csv"], title="Third")
    assert "The dataset trees (2025) has the address t.csv already." in said(third, "uniqueness")


def test_the_same_values_in_another_file_are_a_duplicate(look: Callable[..., SubmissionRecord]) -> None:
    first = look({"trees.csv": CSV}, title="First")
    header, *rows = CSV.decode().splitlines()
    turned = "\r\n".join([header, *reversed(rows)]).replace(",", ";").encode("utf-8-sig")
    second = look({"again.zip": zipped(arbres__csv=turned)}, title="Second")
    assert said(second, "uniqueness") == (
        f"Submission {first.id} has a table or layer with the same values in another file."
    )
    other = look({"other.csv": CSV.replace(rows[0].encode(), rows[0].encode() + b"0")}, title="Third")
    assert verdicts(other)["uniqueness"] == "pass"


def test_a_killed_assessment_is_continued_and_two_at_once_are_one(
    ledger: Ledger, tmp_path: Path, origins: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = ledger.submissions.add(submission(sources=[f"{ORIGIN}/trees.csv"]))[0].id
    settings = Settings(home=tmp_path, origins=origins)
    for broken in ("fetched", "examined", "judged", "histories", "_record"):

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(assessment, broken, killed)
            with pytest.raises(KeyboardInterrupt):
                assess(ledger, settings, number)
        assert ledger.submissions.get(number).state is S.ASSESSING
        assert ledger.submissions.to_assess() == (number,)
    with ledger.leases.hold(lease_keys.of_submission(number)), pytest.raises(BusyError):
        assess(ledger, settings, number)
    assert assess(ledger, settings, number).state is S.IN_APPRAISAL
    states = [event.state for event in ledger.submissions.events(number)]
    assert states == [S.SUBMITTED, S.ASSESSING, S.IN_APPRAISAL]
    assert ledger.submissions.to_assess() == ()
    ledger.submissions.move(number, S.ACCEPTED, who="Mia")
    with pytest.raises(PermanentError, match="can't become assessing: it is accepted"):
        assess(ledger, settings, number)


def test_files_of_a_shapefile_are_read_together(look: Callable[..., SubmissionRecord], tmp_path: Path) -> None:
    import geopandas
    import shapely

    frame = geopandas.GeoDataFrame({"n": [1, 2]}, geometry=[shapely.Point(7e6, 1e6), shapely.Point(7.1e6, 1.1e6)])
    (made := tmp_path / "made").mkdir()
    frame.set_crs("EPSG:3347").to_file(made / "trees.shp")
    record = look({path.name: path.read_bytes() for path in made.iterdir()}, bounds=None)
    assert record.assessment is not None
    (part,) = [part for file in record.assessment["files"] for part in file.get("parts", ())]
    assert (part["rows"], part["crs"]) == (2, "EPSG:3347")
    assert (round(part["bounds"][0]), round(part["bounds"][3])) == (-82, 45)
    assert verdicts(record)["format"] == "pass"
