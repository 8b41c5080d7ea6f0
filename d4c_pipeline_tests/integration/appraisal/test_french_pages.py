"""The pages of submissions with every kind of finding: the French ones have no English cause, the English ones all."""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from d4c_pipeline.appraisal import quarantine
from d4c_pipeline.appraisal.assessment import assess
from d4c_pipeline.appraisal.causes import in_french
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.submission import SubmissionRecord, SubmissionState
from d4c_pipeline_tests.integration.appraisal.conftest import CSV, ORIGIN
from d4c_pipeline_tests.support.submission_face import Face, faced
from d4c_pipeline_tests.support.submitted import submission

UNKNOWN = "le détail technique se trouve sur la page en anglais"
SOURCES = [
    *(f"{ORIGIN}/status/{status}.csv" for status in (401, 403, 404, 410, 418)),
    *(f"{ORIGIN}/{name}" for name in ("page", "inner")),
    "http://10.0.0.7/x.csv",
]
# Words of our English causes. Texts of the page itself and names of files have none.
ENGLISH = re.compile(
    r"\b(can't|does not|answered|refuses|requires|resolves|would unpack|sent|which is|is no|broken|ended)\b"
)


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.csv", content)
    return buffer.getvalue()


UPLOADS = {
    "bomb.zip": zipped(b"a,b\n" + b"0,0\n" * 3_000_000),
    "cut.zip": zipped(CSV * 99)[:150],
    "data.gpkg": b"no database" * 100,
    "empty.csv": b"",
    "fine.csv": CSV,
    "header.csv": b"a,b\n",
    "nul.csv": b"a,b\n1,\x002\n",
    "page.csv": b"<!DOCTYPE html><html><body>Gone</body></html>",
    "quote.csv": b'a,b\n"1,2\n',
    "ragged.csv": b"a,b\n1,2,3\n",
    "run.csv": b"MZ" + bytes(100),
    "slides.pdf": b"%PDF-1.7" + bytes(100),
    "table.csv": b"PK\x03\x04" + bytes(100),
}


@pytest.fixture
def face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Face]:
    monkeypatch.setenv("D4C_SUBMISSIONS", "1")
    monkeypatch.setenv("D4C_UNPACK_BYTES", "10MB")
    with faced(tmp_path) as opened:
        yield opened


def text_of(face: Face, number: int, language: str) -> str:
    answer = face.manager.get(f"/submissions/{number}", params={"lang": language})
    assert answer.status_code == 200
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def test_no_english_cause_is_on_a_french_page(face: Face, tmp_path: Path, origins: dict[str, str]) -> None:
    settings = Settings(home=tmp_path, origins=origins)

    def assessed(ledger: Ledger, uploads: dict[str, bytes], **changes: object) -> SubmissionRecord:
        number = ledger.submissions.add(submission(**changes))[0].id
        for name, content in uploads.items():
            (quarantine.upload_folder(tmp_path, number) / name).write_bytes(content)
        ledger.submissions.complete_files(number)
        return assess(ledger, settings, number)

    with closing(Ledger.in_folder(tmp_path)) as ledger:
        fetched = assessed(ledger, {}, sources=SOURCES)
        read = assessed(ledger, UPLOADS, sources=None, upload=True, title="Files")
        declined = assessed(ledger, {}, licence="All rights reserved", title="Closed", sources=[f"{ORIGIN}/trees.csv"])
    assert declined.state is SubmissionState.DECLINED
    for record in (fetched, read, declined):
        english, french = (text_of(face, record.id, language) for language in ("en", "fr"))
        assert record.assessment is not None
        causes = [
            part["problem"]
            for file in record.assessment["files"]
            for part in (file, *file.get("parts", ()))
            if part.get("problem")
        ]
        sentences = [each["sentence"] for each in record.assessment["criteria"]]
        for cause in (*causes, *sentences):
            assert " ".join(cause.split()) in english
            assert " ".join(cause.split()) not in french
        assert not (told := ENGLISH.findall(french)), told
        # What strangers produce often is told, not left to the English page.
        assert {cause for cause in causes if in_french(cause) == UNKNOWN} == set()
        assert UNKNOWN not in french
    page = text_of(face, fetched.id, "fr")
    assert f"{ORIGIN}/status/403.csv ne peut pas être obtenu" in page
    assert "refuse l'accès (le serveur a répondu 403)" in page
    page = text_of(face, declined.id, "fr")
    assert "Motif: La licence « All rights reserved » interdit" in page
    assert "politique d'appréciation" in page
    assert "table.csv n'est pas un texte, mais une archive zip ou un classeur" in text_of(face, read.id, "fr")
