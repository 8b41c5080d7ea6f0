"""The images that containers are built from and run: found in the files that name them, and pinned by digest.

Run `make pins` where a registry can be reached: every `FROM` and `image:` gets the digest that its tag has now, by
skopeo or `docker buildx imagetools`, and the files are written when all are known. A tag can be moved to other bytes, a
digest cannot. What is not pinned must stand in pyproject.toml (`[tool.d4c.images.unpinned]`) with its reason; a test
holds `problems` against the tree.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.model.errors import D4CError, PermanentError, TransientError
from supply_chain.lock_file import REPOSITORY

LOCAL = re.compile(r"^d4c-[a-z0-9]+:local$")
"""What compose builds here itself; its FROM lines are what is to be pinned."""

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(?P<image>\S+)(?:\s+AS\s+(?P<stage>\S+))?\s*$", re.IGNORECASE)
_COPY = re.compile(r"^\s*(?:COPY|ADD)\s+(?:--\S+\s+)*?--from=(?P<image>\S+)", re.IGNORECASE)
_IMAGE = re.compile(r"""^\s*(?:-\s+)?image:\s*["']?(?P<image>[^\s"'#]+)""")
_USES = re.compile(r"""^\s*(?:-\s+)?uses:\s*["']?(?P<action>[^\s"'#]+)""")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_COMMIT = re.compile(r"@[0-9a-f]{40}$")
_SECONDS = 120


@dataclass(frozen=True)
class Named:
    """An image where it is named."""

    file: Path
    line: int
    """Counted from 1."""
    image: str

    @property
    def pinned(self) -> bool:
        """Whether it ends in a sha256 digest."""
        return _DIGEST.search(self.image) is not None

    @property
    def tag(self) -> str:
        """Name and tag, without the digest."""
        return _DIGEST.sub("", self.image)


def files(root: Path = REPOSITORY) -> list[Path]:
    """Return the files below `root` that may name images: Dockerfiles, compose files and workflows of a CI."""
    patterns = ("*Dockerfile*", "*Containerfile*", "*compose*.y*ml", ".github/workflows/*.y*ml", ".gitlab-ci.y*ml")
    return sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})


def named(file: Path) -> Iterator[Named]:
    """Yield the images that `file` takes from a registry: no stage of its own, no `scratch`, nothing built here."""
    stages: set[str] = {"scratch"}
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        match = _FROM.match(line) or _COPY.match(line) or _IMAGE.match(line)
        if match is None:
            continue
        image = match["image"]
        if image not in stages and not image.isdecimal() and not LOCAL.match(image):
            yield Named(file, number, image)
        if match.re is _FROM and match["stage"]:
            stages.add(match["stage"])


def problems(root: Path = REPOSITORY) -> list[str]:
    """Return what is not pinned and not listed with a reason, and what is listed without need, a sentence each."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    listed: dict[str, str] = settings.get("tool", {}).get("d4c", {}).get("images", {}).get("unpinned", {})
    found = [one for file in files(root) for one in named(file)]
    loose = [one for one in found if not one.pinned]
    wrong = [
        f"{_place(one, root)} names {one.image} without a digest: make pins" for one in loose if one.image not in listed
    ]
    for image, reason in listed.items():
        if not reason.strip():
            wrong.append(f"[tool.d4c.images.unpinned] gives no reason for {image}")
        if image not in {one.image for one in loose}:
            wrong.append(f"[tool.d4c.images.unpinned] lists {image}, which is pinned or named nowhere: remove it")
    for file in files(root):
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            match = _USES.match(line)
            if match and not match["action"].startswith("./") and not _COMMIT.search(match["action"]):
                wrong.append(f"{file.relative_to(root)}:{number} uses {match['action']} without a commit of 40 digits")
    return wrong


def _place(one: Named, root: Path) -> str:
    return f"{one.file.relative_to(root)}:{one.line}"


def pin(root: Path, digest: Callable[[str], str]) -> list[str]:
    """Give every image of the files below `root` the digest that `digest` returns for its tag, and return what changed.

    Nothing is written unless the digest of every image is known.

    Raises:
        PermanentError: an image is named through a variable, so that its tag is not known here.
        D4CError: `digest` raised it.
    """
    images = [one for file in files(root) for one in named(file)]
    for one in images:
        if "$" in one.image:
            raise PermanentError(f"{_place(one, root)} names its image by a variable: {one.image}", "Name it in full")
    known = {tag: digest(tag) for tag in sorted({one.tag for one in images})}
    changed: list[str] = []
    for file in sorted({one.file for one in images}):
        lines = file.read_text("utf-8").splitlines(keepends=True)
        for one in (one for one in images if one.file == file):
            pinned = f"{one.tag}@{known[one.tag]}"
            if pinned != one.image:
                lines[one.line - 1] = lines[one.line - 1].replace(one.image, pinned, 1)
                changed.append(f"{_place(one, root)} {pinned}")
        file.write_text("".join(lines), "utf-8", newline="")
    return changed


def registry_digest(tag: str) -> str:
    """Ask the registry for the digest of `tag` by skopeo or docker: that of the index, which holds for every platform.

    Raises:
        PermanentError: neither tool is installed.
        TransientError: the tool failed, or answered something else.
    """
    tools = {
        "skopeo": ["inspect", "--no-tags", "--format", "{{.Digest}}", f"docker://{tag}"],
        "docker": ["buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", tag],
    }
    tool = next((name for name in tools if shutil.which(name)), None)
    if tool is None:
        raise PermanentError(
            "Neither skopeo nor docker is installed, so no registry can be asked for a digest",
            "Install one (Debian: apt install skopeo) on a machine that reaches the registries, then: make pins",
        )
    try:
        result = subprocess.run(
            [tool, *tools[tool]],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"{tool} did not answer for {tag} within {_SECONDS} s", "Try again: make pins") from error
    answer = result.stdout.strip()
    if result.returncode != 0 or not _DIGEST.fullmatch(f"@{answer}"):
        said = " ".join((result.stderr or result.stdout).split())[-300:]
        raise TransientError(f"{tool} told no digest of {tag}: {said}", "Try again where the registry can be reached")
    return answer


def main() -> int:
    try:
        for line in pin(REPOSITORY, registry_digest) or ["Every image has the digest of its tag already."]:
            print(line)
    except D4CError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for problem in problems():
        print(problem, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
