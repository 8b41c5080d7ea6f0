"""Scripts that download files, resume what was interrupted, and verify every sha256: one for each common tool.

Every text of the catalogue enters a script through the quoting of the script's language. Finding files belongs to
`protocols.downloads`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from d4c_pipeline.model.errors import DataError, PermanentError

_SAFE_URL = "/:?&=%~+,;@!$'()*[]#-._"
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")


@dataclass(frozen=True)
class Download:
    """A file: its address, its relative path on the reader's disk, its size in bytes and its sha256."""

    url: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Tool:
    """A tool: the name of its script's file, and how to run it."""

    name: str
    file_name: str
    run: str
    write: Callable[[Sequence[Download]], str]


def script(tool: str, downloads: Sequence[Download]) -> str:
    """Return the script of `tool` (a key of `TOOLS`) for files. Raises DataError for a path that leaves the folder."""
    checked: list[Download] = []
    for each in downloads:
        parts = each.path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\\" in each.path or _CONTROL.search(each.path + each.url):
            raise DataError(f"{each.path!r} is no safe path", "Download the file by its address")
        if re.fullmatch(r"[0-9a-f]{64}", each.sha256) is None:
            raise DataError(f"The sha256 of {each.path} is not known", "Download the file by its address")
        checked.append(Download(quote(each.url, safe=_SAFE_URL), each.path, int(each.size), each.sha256))
    return TOOLS[tool].write(checked)


_SHELL = """\
#!/bin/sh
# Downloads files into the current folder. Run it again to resume; a file is complete when its sha256 is right.
set -eu
sum() { if command -v sha256sum >/dev/null 2>&1; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d ' ' -f 1; }
size() { wc -c <"$1" | tr -d ' '; }
failed=0
fetch() { # address path size sha256
  if [ -f "$2" ] && [ "$(size "$2")" = "$3" ] && [ "$(sum "$2")" = "$4" ]; then echo "have $2"; return 0; fi
  mkdir -p -- "$(dirname -- "$2")"
  part="$2.part"
  if [ ! -f "$part" ] || [ "$(size "$part")" -lt "$3" ]; then get "$1" "$part" || { echo "stopped: $2" >&2; failed=1; return 0; }; fi
  if [ "$(sum "$part")" = "$4" ]; then mv -- "$part" "$2"; echo "got  $2"
  else rm -f -- "$part"; echo "wrong sha256, removed: $2" >&2; failed=1; fi
}
%s
%s
exit "$failed"
"""  # noqa: E501 - lines of a script


def _shell(get: str) -> Callable[[Sequence[Download]], str]:
    def write(downloads: Sequence[Download]) -> str:
        lines = (
            f"fetch {shlex.quote(each.url)} {shlex.quote(_local(each.path))} {each.size} {each.sha256}"
            for each in downloads
        )
        return _SHELL % (get, "\n".join(lines))

    return write


def _local(path: str) -> str:
    # A name that begins with a hyphen is no option.
    return f"./{path}"


def _aria2(downloads: Sequence[Download]) -> str:
    entries = (
        f"{each.url}\n  out={each.path}\n  checksum=sha-256={each.sha256}\n  continue=true\n" for each in downloads
    )
    return "".join(
        ["# aria2c --check-integrity=true --auto-file-renaming=false --input-file=download.aria2.txt\n", *entries]
    )


_PYTHON = '''\
#!/usr/bin/env python3
"""Downloads files into the current folder. Run it again to resume; a file is complete when its sha256 is right."""
import hashlib, os, pathlib, sys, urllib.request

FILES = [  # address, path, size, sha256
%s
]


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(url, path, size, digest):
    path = pathlib.Path(path)
    if path.exists() and path.stat().st_size == size and sha256(path) == digest:
        return print("have", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    done = part.stat().st_size if part.exists() else 0
    if done < size:
        request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
        with urllib.request.urlopen(request, timeout=60) as answer:
            with open(part, "ab" if answer.status == 206 else "wb") as file:
                while block := answer.read(1 << 20):
                    file.write(block)
    if sha256(part) != digest:
        part.unlink()
        raise OSError(f"wrong sha256, removed: {path}")
    os.replace(part, path)
    print("got ", path)


failed = 0
for each in FILES:
    try:
        fetch(*each)
    except OSError as error:
        print(error, file=sys.stderr)
        failed = 1
sys.exit(failed)
'''


def _python(downloads: Sequence[Download]) -> str:
    rows = (f"    ({each.url!a}, {each.path!a}, {each.size}, {each.sha256!r})," for each in downloads)
    return _PYTHON % "\n".join(rows)


_R = """\
# Downloads files into the current folder. Run it again to resume; a file is complete when its sha256 is right.
# It needs R 4.5, or the package digest, or the program sha256sum.
sha256 <- function(path) {
  if (exists("sha256sum", asNamespace("tools"))) return(unname(get("sha256sum", asNamespace("tools"))(path)))
  if (requireNamespace("digest", quietly = TRUE)) return(digest::digest(path, "sha256", file = TRUE))
  substr(system2("sha256sum", stdin = path, stdout = TRUE), 1, 64)
}
failed <- 0
fetch <- function(url, path, size, digest) {
  if (file.exists(path) && file.size(path) == size && sha256(path) == digest) { message("have ", path); return() }
  dir.create(dirname(path), recursive = TRUE, showWarnings = FALSE)
  part <- paste0(path, ".part")
  done <- if (file.exists(part)) file.size(part) else 0
  if (done < size) {
    range <- if (done > 0) c(Range = sprintf("bytes=%%.0f-", done)) else NULL
    tryCatch(
      download.file(url, part, "libcurl", quiet = TRUE, mode = if (done > 0) "ab" else "wb", headers = range),
      error = function(problem) message(conditionMessage(problem)))
  }
  if (file.exists(part) && sha256(part) == digest) { file.rename(part, path); message("got  ", path); return() }
  if (file.exists(part) && file.size(part) >= size) unlink(part)
  message("not complete: ", path)
  failed <<- 1
}
%s
quit(status = failed)
"""


def _r(downloads: Sequence[Download]) -> str:
    # JSON's escapes of text are R's as well.
    rows = (
        f"fetch({json.dumps(each.url)}, {json.dumps(each.path)}, {each.size}, {json.dumps(each.sha256)})"
        for each in downloads
    )
    return _R % "\n".join(rows)


_RCLONE = """\
get() { # address part
  base=$(printf '%s' "$1" | sed 's|^\\([a-z]*://[^/]*\\)/.*|\\1|')
  rclone copyto --retries 5 --http-url "$base" ":http:/${1#"$base"/}" "$2"
}"""


def _rclone(downloads: Sequence[Download]) -> str:
    # rclone's http remote has paths, not percent-encoded addresses.
    for each in downloads:
        if "%" in each.url or urlsplit(each.url).query:
            raise PermanentError(f"rclone has no way to read {each.url}", "Use the script of curl")
    return _shell(_RCLONE)(downloads)


TOOLS = {
    each.name: each
    for each in (
        Tool(
            "curl",
            "download.sh",
            "sh download.sh",
            _shell('get() { curl --fail --location --silent --show-error --retry 5 -C - --output "$2" "$1"; }'),
        ),
        Tool(
            "wget",
            "download-wget.sh",
            "sh download-wget.sh",
            _shell('get() { wget --quiet --tries=5 --continue --output-document="$2" "$1"; }'),
        ),
        Tool(
            "aria2",
            "download.aria2.txt",
            "aria2c --check-integrity=true --auto-file-renaming=false --input-file=download.aria2.txt",
            _aria2,
        ),
        Tool("python", "download.py", "python3 download.py", _python),
        Tool("r", "download.R", "Rscript download.R", _r),
        Tool("rclone", "download-rclone.sh", "sh download-rclone.sh", _rclone),
    )
}
