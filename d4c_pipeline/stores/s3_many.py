"""Many small contents in a bucket: put under conditions, several at a time, without a look at each address.

The requests themselves, and the look where a condition does not hold, belong to `s3.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from d4c_pipeline.stores.port import Stored

_TOGETHER = 8  # requests; the client keeps ten connections
ONLY_NEW = {"IfNoneMatch": "*"}


def put_together(
    contents: Mapping[str, bytes],
    known: Mapping[str, str | None] | None,
    *,
    put_under: Callable[[bytes, str, dict[str, str]], Stored | None],
    replace: Callable[[bytes, str], Stored],
    one_first: bool,
) -> dict[str, str | None]:
    """Put `contents` at their addresses and return their tags.

    `known` as in `Store.replace_many`. `put_under` puts a content under a condition and returns None where it does not
    hold; `replace` looks first. `one_first`: one content with a tag is put alone, because how the server writes tags is
    learnt by one request, not by several at a time. Raises the first error; what has not begun is cancelled.
    """
    occupied = threading.Event()  # an address that should be unused was not: after a lost memory, none is

    def put(address: str) -> tuple[str, str | None]:
        content, done = contents[address], None
        tag = known.get(address) if known is not None else None
        if tag is not None:
            done = put_under(content, address, {"IfMatch": tag})
        elif known is not None and address not in known and not occupied.is_set():
            done = put_under(content, address, ONLY_NEW)
            if done is None:
                occupied.set()
        return address, (done or replace(content, address)).etag

    tagged = next((address for address in contents if known and known.get(address) is not None), None)
    tags = dict([put(tagged)]) if one_first and tagged is not None else {}
    with ThreadPoolExecutor(_TOGETHER) as pool:
        return tags | dict(pool.map(put, [address for address in contents if address not in tags]))
