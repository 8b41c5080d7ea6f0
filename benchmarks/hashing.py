"""How long one read takes that gives every hash of a release file, against the tools that give them one by one.

Run `.venv/bin/python benchmarks/hashing.py [--quick]`. Ours: md5, sha256, v1 pieces and v2 tree (hybrid torrent) in one
read. The others, one after the other: `md5sum`, `sha256sum`, and libtorrent hashing the pieces of a hybrid torrent. All
in turns on one file of a fixed seed that lies in memory; the mean of the turns counts, and the results have to agree.
`--quick` takes 512 MiB instead of 4 GB. The last line is one JSON object: our time as a ratio to the sum of the
others', and to that of `sha256sum` alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import libtorrent as lt

from d4c_pipeline.files.hashing import Digests, hash_file
from d4c_pipeline.torrents.pieces import Pieces, piece_hasher, piece_size_for
from d4c_pipeline.torrents.torrent_files import torrent_of

_SIZE, _QUICK = 4_000_000_000, 512 << 20
_TURNS = 2
_SEED = 7
_BLOCK = 64 << 20


def ours(path: Path) -> tuple[Digests, Pieces]:
    hasher = piece_hasher(path, hybrid=True)
    return hash_file(path, hasher), hasher.finish()


def tool(name: str, path: Path) -> str:
    done = subprocess.run([name, path], check=True, capture_output=True, text=True)
    return done.stdout.split()[0]


def libtorrents(path: Path) -> tuple[str, str]:
    """Return the v1 and v2 info hashes by libtorrent's own hashing of the file."""
    size = path.stat().st_size
    creator = lt.create_torrent([lt.create_file_entry(path.name, size)], piece_size_for(size), 0)
    lt.set_piece_hashes(creator, str(path.parent))
    hashes = lt.load_torrent_buffer(lt.bencode(creator.generate())).info_hashes
    return str(hashes.v1), str(hashes.v2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="512 MiB instead of 4 GB")
    size = _QUICK if parser.parse_args().quick else _SIZE
    seconds: dict[str, list[float]] = {name: [] for name in ("md5sum", "sha256sum", "libtorrent", "ours")}
    with tempfile.TemporaryDirectory(prefix="d4c-hashing-") as folder:
        path = Path(folder) / "data.parquet"
        source = random.Random(_SEED)  # noqa: S311 - not a secret
        with path.open("wb") as file:
            for start in range(0, size, _BLOCK):
                file.write(source.randbytes(min(_BLOCK, size - start)))
        for _ in range(_TURNS):
            began = time.perf_counter()
            md5 = tool("md5sum", path)
            seconds["md5sum"].append(time.perf_counter() - began)
            began = time.perf_counter()
            sha256 = tool("sha256sum", path)
            seconds["sha256sum"].append(time.perf_counter() - began)
            began = time.perf_counter()
            info_hashes = libtorrents(path)
            seconds["libtorrent"].append(time.perf_counter() - began)
            began = time.perf_counter()
            digests, pieces = ours(path)
            seconds["ours"].append(time.perf_counter() - began)
            made = torrent_of(
                pieces, path.name, web_seeds=[], trackers=[], comment="", created=datetime(2026, 11, 22, tzinfo=UTC)
            )
            assert (digests.md5, digests.sha256) == (md5, sha256)
            assert (made.info_hash, made.info_hash_v2) == info_hashes
    print(f"{size / 1e9:.2f} GB, {os.cpu_count()} cores")
    mean = {name: statistics.mean(turns) for name, turns in seconds.items()}
    for name, taken in mean.items():
        print(f"{name:11} {taken:6.2f} s   {size / 1e6 / taken:6.0f} MB/s")
    separate = mean["md5sum"] + mean["sha256sum"] + mean["libtorrent"]
    ratios = {"vs_separate": mean["ours"] / separate, "vs_sha256sum": mean["ours"] / mean["sha256sum"]}
    print(json.dumps({name: round(ratio, 2) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
