"""The server's threads share one arena of the C library."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import ctypes, sys, threading
import pyarrow as pa
if sys.argv[2] == "one":
    from d4c_pipeline.services.memory import use_one_arena
    use_one_arena()
    assert pa.default_memory_pool().backend_name == "system"
library = ctypes.CDLL(None)
library.malloc.restype = library.fopen.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
barrier = threading.Barrier(12)
def work():
    barrier.wait()
    library.malloc(1_000)
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = ctypes.c_void_p(library.fopen(sys.argv[1].encode(), b"w"))
library.malloc_info(0, file)
library.fclose(file)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library is not glibc")
def test_threads_share_one_arena(tmp_path: Path) -> None:
    arenas: dict[str, int] = {}
    for name in ("one", "many"):
        subprocess.run([sys.executable, "-c", _PROGRAM, str(tmp_path / name), name], check=True, timeout=60)
        arenas[name] = len(re.findall("<heap nr=", (tmp_path / name).read_text()))
    # pyarrow may have made a second one at its import.
    assert arenas["one"] <= 2
    assert arenas["many"] > 10, arenas
