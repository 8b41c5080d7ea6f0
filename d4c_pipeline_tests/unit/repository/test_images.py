"""Images by digest: none is named without one unless its reason is listed, and `make pins` writes them all or none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from d4c_pipeline.model.errors import PermanentError, TransientError
from supply_chain import images

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("Dockerfile", "docker-compose.yml", "pyproject.toml"):
        shutil.copy(images.REPOSITORY / name, tmp_path)
    return tmp_path


def test_no_image_is_named_without_digest_or_listed_reason() -> None:
    assert images.problems() == []


def test_the_images_of_the_tree_are_all_seen() -> None:
    seen = [(one.file.name, one.tag) for file in images.files() for one in images.named(file)]
    assert seen == [
        ("Dockerfile", "python:3.12-slim"),
        ("Dockerfile", "debian:bookworm-slim"),
        ("Dockerfile", "debian:bookworm-slim"),
        ("Dockerfile", "debian:bookworm-slim"),
        ("Dockerfile", "chrislusf/seaweedfs:4.47"),
        ("Dockerfile", "debian:bookworm-slim"),
        ("Dockerfile", "python:3.12-slim"),
        ("docker-compose.yml", "postgres:17"),
        ("docker-compose.yml", "postgres:17"),
    ]


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("Dockerfile", "FROM alpine:3\n", "Dockerfile:1 names alpine:3 without a digest: make pins"),
        ("Dockerfile", "FROM --platform=linux/amd64 alpine AS x\nFROM x\n", "Dockerfile:1 names alpine without"),
        (
            "Dockerfile",
            "FROM scratch\nCOPY --chmod=755 --from=busybox:1 /a /b\n",
            "Dockerfile:2 names busybox:1 without",
        ),
        ("Dockerfile.dev", "from alpine:3@sha256:12\n", "Dockerfile.dev:1 names alpine:3@sha256:12 without"),
        ("Dockerfile", "ARG BASE\nFROM ${BASE}\n", "Dockerfile:2 names ${BASE} without"),
        (
            "docker-compose.yml",
            "services: \n  a:\n    image: 'redis:7'\n",
            "docker-compose.yml:3 names redis:7 without",
        ),
        (".github/workflows/ci.yml", "    - uses: actions/checkout@v4\n", "uses actions/checkout@v4 without a commit"),
        (".github/workflows/ci.yml", "    image: node:22\n", "names node:22 without a digest"),
    ],
)
def test_one_without_a_digest_is_refused_where_it_stands(tree: Path, file: str, text: str, problem: str) -> None:
    for name in ("Dockerfile", "docker-compose.yml"):
        (tree / name).unlink()
    (tree / "pyproject.toml").write_text("", "utf-8")
    (tree / file).parent.mkdir(parents=True, exist_ok=True)
    (tree / file).write_text(text, "utf-8")
    (said,) = images.problems(tree)
    assert problem in said


def test_what_is_listed_needs_a_reason_and_has_to_be_there(tree: Path) -> None:
    listed = '[tool.d4c.images.unpinned]\n"python:3.12-slim" = " "\n"gone:1" = "It was here."\n'
    (tree / "pyproject.toml").write_text(listed, "utf-8")
    said = images.problems(tree)
    assert "[tool.d4c.images.unpinned] gives no reason for python:3.12-slim" in said
    assert "[tool.d4c.images.unpinned] lists gone:1, which is pinned or named nowhere: remove it" in said
    assert sum("names debian:bookworm-slim without" in one for one in said) == 4


def test_pinning_gives_every_place_its_digest_and_ends_the_listed_exceptions(tree: Path) -> None:
    before = (tree / "Dockerfile").read_text("utf-8")
    changed = images.pin(tree, lambda _: DIGEST)
    assert len(changed) == 9
    assert (tree / "Dockerfile").read_text("utf-8") == re.sub(
        r"^(FROM [^ @\n]+)(@sha256:[0-9a-f]+)?", rf"\1@{DIGEST}", before, flags=re.MULTILINE
    )
    assert (tree / "docker-compose.yml").read_text("utf-8").count(f"image: postgres:17@{DIGEST}\n") == 2
    assert all("is pinned or named nowhere" in one for one in images.problems(tree))
    assert len(images.problems(tree)) == 3
    newer = DIGEST.replace("ab", "cd")
    assert len(images.pin(tree, lambda _: newer)) == 9  # again: the tag is asked anew, the old digest goes
    assert (tree / "Dockerfile").read_text("utf-8").count(newer) == 7
    assert DIGEST not in (tree / "Dockerfile").read_text("utf-8")
    assert images.pin(tree, lambda _: newer) == []


def test_nothing_is_written_unless_every_digest_is_known(tree: Path) -> None:
    def digest(tag: str) -> str:
        if tag == "python:3.12-slim":
            raise TransientError("the registry is down")
        return DIGEST

    before = [(tree / name).read_bytes() for name in ("Dockerfile", "docker-compose.yml")]
    with pytest.raises(TransientError):
        images.pin(tree, digest)
    assert [(tree / name).read_bytes() for name in ("Dockerfile", "docker-compose.yml")] == before


def test_a_variable_has_no_tag_that_could_be_asked_for(tree: Path) -> None:
    (tree / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n", "utf-8")
    with pytest.raises(PermanentError, match=r"Dockerfile:2 names its image by a variable: \$\{BASE\}"):
        images.pin(tree, lambda _: DIGEST)


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("skopeo", "inspect --no-tags --format {{.Digest}} docker://postgres:17"),
        ("docker", "buildx imagetools inspect --format {{.Manifest.Digest}} postgres:17"),
    ],
)
def test_the_registry_is_asked_by_the_tool_that_is_there(
    tool: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / tool
    script.write_text(f'#!/bin/sh\n[ "$*" = "{words}" ] && echo {DIGEST}\n', "utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert images.registry_digest("postgres:17") == DIGEST


@pytest.mark.parametrize("body", ["echo unauthorized >&2; exit 1", "echo sha256:12", "true"])
def test_a_tool_that_tells_no_digest_is_an_error(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "skopeo"
    script.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TransientError, match="skopeo told no digest of postgres:17"):
        images.registry_digest("postgres:17")


def test_without_a_tool_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PermanentError, match=r"Neither skopeo nor docker is installed.*make pins"):
        images.registry_digest("postgres:17")
