"""The metadata manager over HTTP and git: who may, checks, commits, two editors, crashes, hostile texts."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path
from re import DOTALL, findall

import httpx
import pytest
import yaml

from d4c_pipeline.drafting import committing
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline_tests.support.metadata_face import TREES, MetadataFace, git, metadata_faced, repository


@pytest.fixture
def face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetadataFace]:
    monkeypatch.setenv("D4C_METADATA_MANAGER", "1")
    repository(tmp_path / "defs")
    with metadata_faced(tmp_path / "home", tmp_path / "defs") as opened:
        yield opened


def form(client: httpx.Client, language: str = "en") -> dict[str, str]:
    return fields(client.get(f"/metadata/trees?lang={language}"))


def fields(answer: httpx.Response) -> dict[str, str]:
    """The fields of the form on a page."""
    found = dict(findall(r'<input [^>]*?name="([^"]+)"[^>]*? value="([^"]*)"', answer.text))
    found |= dict(findall(r'<textarea [^>]*name="([^"]+)"[^>]*>\n(.*?)</textarea>', answer.text, DOTALL))
    return {name: unescape(value) for name, value in found.items() if name not in ("add", "find", "chosen")}


def sent(client: httpx.Client, values: dict[str, str], step: str, language: str = "en") -> httpx.Response:
    return client.post(f"/metadata/trees?lang={language}", data={**values, "step": step})


def test_only_specialists_and_only_our_form(face: MetadataFace) -> None:
    assert face.anybody.get("/metadata").status_code == 401
    assert face.reader.get("/metadata/trees").status_code == 403
    assert "trees" in face.client.get("/metadata").text
    values = form(face.client)
    assert sent(face.other, values, "check").status_code == 403  # the token is of another user
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert face.client.post("/metadata/trees", data=values, headers=headers).status_code == 403
    assert face.client.get("/metadata/..%2f..%2fetc").status_code == 404
    assert face.client.get("/metadata/nothing").status_code == 404


def test_an_edit_is_previewed_then_committed_as_its_author(face: MetadataFace) -> None:
    values = form(face.client) | {"title.fr": "Arbres : l'inventaire", "add": "forêt"}
    added = sent(face.client, values, "check")
    values = fields(added)
    assert (values["keywords.en"], values["keywords.fr"]) == ("trees\nCanada\nForests", "arbres\nCanada\nForêt")
    checked = sent(face.client, values, "check")
    assert "<ins>+    fr: &#39;Arbres : l&#39;&#39;inventaire&#39;</ins>" in checked.text
    assert checked.text.count('<details id="record-') == 22
    assert "&lt;dc:title xml:lang=&#34;fr&#34;&gt;Arbres : l&#39;inventaire" in checked.text
    assert "Keywords that no vocabulary has: trees, Canada, arbres" in checked.text
    assert face.file.read_text("utf-8") == TREES  # nothing is saved by a preview
    done = sent(face.client, fields(checked) | {"message": "French title\n--amend"}, "commit")
    assert done.status_code == 303
    assert git(face.file.parent, "log", "-1", "--format=%an <%ae>%n%B").split("\n") == [
        "bo <bo@example.ca>", "French title", "--amend",
    ]  # fmt: skip
    assert git(face.file.parent, "status", "--porcelain") == ""
    text = face.file.read_text("utf-8")
    assert "en: Street trees # as the city says it\n    fr: 'Arbres : l''inventaire'\n" in text
    assert "- trees # a free keyword\n      - Canada\n      - Forests\n" in text
    commit = git(face.file.parent, "rev-parse", "HEAD")[:12]
    assert f"Committed as {commit}." in face.client.get(done.headers["Location"]).text


@pytest.mark.parametrize(
    ("field", "value", "english", "french"),
    [
        ("title.en", "", "Field required.", "Ce champ est obligatoire."),
        ("license", "mine", "&#39;mine&#39; is not a known licence", "Cette licence est inconnue."),
        ("creators.0.ror", "https://ror.org/05k71ja88", "its last two digits", "pas un identifiant ROR"),
        ("creators.0.orcid", "0000-0002-1825-0098", "its last character", "pas un ORCID"),
        ("languages", "eng\nxx", "xx", "trois lettres"),
        ("extent.west", "181", "Input should be", "Écrivez des degrés"),
        ("title.fr", "<script>alert(1)</script>", "The text has HTML", "contient du HTML"),
        ("title.fr", "a\u202eb", "turns the direction", "caractère de commande"),
        ("add", "Unicorns", "No vocabulary has the term", "Aucun vocabulaire"),
    ],
)
def test_a_wrong_value_is_told_at_its_field(
    face: MetadataFace, field: str, value: str, english: str, french: str
) -> None:
    for language, told in (("en", english), ("fr", french)):
        answer = sent(face.client, form(face.client) | {field: value}, "check", language)
        assert answer.status_code == 422
        (error,) = findall(rf'id="{field}-error">(.*?)</p>', answer.text)
        assert told in error
        assert "<script" not in answer.text
    assert face.file.read_text("utf-8") == TREES


def test_grants_are_added_changed_and_removed_and_keep_what_the_form_does_not_have(face: MetadataFace) -> None:
    first = {
        "funding.0.funder": "Example Fund",
        "funding.0.number": "0042",
        "funding.0.url": "https://fund.example.ca/42",
    }
    assert sent(face.client, form(face.client) | first, "commit").status_code == 303
    grant = "funding:\n  - funder: Example Fund\n    number: '0042'\n    url: https://fund.example.ca/42\n"
    text = face.file.read_text("utf-8")
    assert yaml.safe_load(text)["attributes"]["funding"] == yaml.safe_load(grant)["funding"]
    titled = text.replace("number: '0042',", "number: '0042', title: {en: Trees, fr: Arbres},")
    assert titled != text
    face.file.write_text(titled, "utf-8")
    git(face.file.parent, "commit", "--quiet", "--all", "--message=title")
    # A grant that has a title needs its number.
    for language, told in (("en", "wants its number"), ("fr", "et le numéro de la subvention")):
        answer = sent(face.client, form(face.client) | {"funding.0.number": "", "funding.0.url": ""}, "check", language)
        (error,) = findall(r'id="funding.0.funder-error">(.*?)</p>', answer.text)
        assert (answer.status_code, told in error) == (422, True)
    second = {"funding.0.number": "43", "funding.1.funder": "Other Fund"}
    assert sent(face.client, form(face.client) | second, "commit").status_code == 303
    text = face.file.read_text("utf-8")
    assert "number: '43', title: {en: Trees, fr: Arbres}, url:" in text
    first, other = yaml.safe_load(text)["attributes"]["funding"]
    assert (first["number"], other) == ("43", {"funder": "Other Fund"})
    assert sent(face.client, form(face.client) | {"funding.0.funder": ""}, "commit").status_code == 303
    text = face.file.read_text("utf-8")
    assert yaml.safe_load(text)["attributes"]["funding"] == [{"funder": "Other Fund"}]


@pytest.mark.parametrize("title", ["- {x: [1", "a: b # c", "'\"\\n", "x" * 10_000, "null"])
def test_hostile_titles_are_texts(face: MetadataFace, title: str) -> None:
    answer = sent(face.client, form(face.client) | {"title.en": title}, "commit")
    assert answer.status_code == 303
    assert form(face.client)["title.en"] == title


def test_the_second_of_two_editors_gets_the_difference(face: MetadataFace) -> None:
    first = form(face.client) | {"title.en": "Trees of the first", "description.en": "By the first"}
    second = form(face.other) | {"title.en": "Trees of the second", "title.fr": "Arbres du second"}
    assert sent(face.client, first, "commit").status_code == 303
    answer = sent(face.other, second, "commit")
    assert answer.status_code == 409
    assert "The file changed since you opened it." in answer.text
    assert "yours are shown: title.en" in unescape(answer.text)
    assert "<del>-    en: Trees of the first # as the city says it</del>" in answer.text
    assert "By the first" not in "".join(findall("<del>.*?</del>", answer.text))
    assert "Trees of the first" in face.file.read_text("utf-8")
    assert sent(face.other, fields(answer), "commit").status_code == 303
    values = form(face.other)
    assert (values["title.en"], values["title.fr"]) == ("Trees of the second", "Arbres du second")
    assert values["description.en"] == "By the first"


def test_changes_without_a_commit_and_folders_without_git_are_refused(face: MetadataFace, tmp_path: Path) -> None:
    edited = TREES.replace("Arbres de rue", "Arbres de la rue")
    face.file.write_text(edited, "utf-8")
    answer = sent(face.client, form(face.client) | {"title.en": "Other"}, "commit")
    assert (answer.status_code, "has changes without a commit" in answer.text) == (409, True)
    assert face.file.read_text("utf-8") == edited
    (face.file.parent.parent / ".git").rename(tmp_path / "moved")
    answer = sent(face.client, form(face.client) | {"title.en": "Other"}, "commit")
    assert (answer.status_code, "is no git repository" in answer.text) == (409, True)
    done = committing.commit(
        face.ledger,
        face.home,
        face.file,
        committing.digest(edited),
        TREES,
        committing.Author("bo"),
        "",
        without_git=True,
    )
    assert (done, face.file.read_text("utf-8")) == (None, TREES)


def test_a_hook_that_refuses_leaves_the_file_as_it_was(face: MetadataFace) -> None:
    hook = face.file.parent.parent / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho too late today >&2\nexit 1\n")
    hook.chmod(0o755)
    answer = sent(face.client, form(face.client) | {"title.en": "Other"}, "commit")
    assert (answer.status_code, "too late today" in answer.text) == (409, True)
    assert face.file.read_text("utf-8") == TREES
    hook.unlink()
    assert sent(face.client, fields(answer), "commit").status_code == 303


@pytest.mark.parametrize("at", ["journal", "file", "commit"])
def test_a_process_killed_between_file_and_commit_loses_nothing(
    face: MetadataFace, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    kept_write, kept_git = committing.write_file, committing._git

    def write(path: Path, content: bytes) -> None:
        if at == "journal" and path == face.file:
            raise Killed
        kept_write(path, content)

    def run(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> str:
        if arguments[0] == "commit" and at == "file":
            raise Killed
        done = kept_git(folder, *arguments, environment=environment)
        if arguments[0] == "commit" and at == "commit":
            raise Killed
        return done

    changed = TREES.replace("Street trees", "Trees")
    with monkeypatch.context() as patched:
        patched.setattr(committing, "write_file", write)
        patched.setattr(committing, "_git", run)
        with pytest.raises(Killed):
            committing.commit(
                face.ledger, face.home, face.file, committing.digest(TREES), changed,
                committing.Author("bo", "bo@example.ca"), "Shorter",
            )  # fmt: skip
    # The next page that anybody opens finishes the work of the first person.
    assert "A commit that was interrupted is finished now." in face.other.get("/metadata/trees?lang=en").text
    assert face.file.read_text("utf-8") == changed
    assert git(face.file.parent, "log", "--format=%an %s") == "bo Shorter\nOp trees"
    assert git(face.file.parent, "status", "--porcelain") == ""
    assert "interrupted" not in face.other.get("/metadata/trees?lang=en").text


def test_a_file_that_somebody_wrote_after_the_crash_is_not_overwritten(face: MetadataFace) -> None:
    journal = committing._journal(face.home, face.file)
    begun = {"file": "", "seen": committing.digest("x"), "text": "y", "name": "bo", "email": "", "message": "m"}
    journal.parent.mkdir(parents=True)
    journal.write_bytes(committing.orjson.dumps(begun))
    assert committing.resume(face.ledger, face.home, face.file) is None
    assert (journal.exists(), journal.with_suffix(".overtaken.json").exists()) == (False, True)
    assert face.file.read_text("utf-8") == TREES


def test_names_of_authors_can_not_forge_a_commit(face: MetadataFace) -> None:
    author = committing.Author("Eve <root@example.ca>\ncommitter x", "e@x\n>")
    changed = TREES.replace("Street trees", "Trees")
    committing.commit(face.ledger, face.home, face.file, committing.digest(TREES), changed, author, "\x00")
    assert git(face.file.parent, "log", "-1", "--format=%an|%ae|%s") == (
        "Eve root@example.ca committer x|e@x|trees: metadata edited"
    )
    with pytest.raises(PermanentError, match="Nothing is changed"):
        committing.commit(face.ledger, face.home, face.file, committing.digest(changed), changed, author, "")
