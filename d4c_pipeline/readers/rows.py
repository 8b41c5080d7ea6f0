"""Makes a part of a file of rows; columns with coordinates or WKT become the geometry of features."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TypeVar

from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.readers.member import Member
from d4c_pipeline.tables.native import Native, Part, with_typed_nulls

Result = TypeVar("Result")


def part(
    member: Member, processing: Processing, layer: str | None, opener: Callable[[], Native], threads: int | None
) -> Part:
    """Return the part of `member` that `opener` reads, with geometry if `processing` declares features."""

    def placed() -> Native:
        if not isinstance(processing, VectorProcessing):
            return with_typed_nulls(opener(), processing.nulls)
        native = while_loading(opener, "geometry.cleaning", "readers.coordinates")
        numeric = [name for name in (processing.longitude, processing.latitude) if name is not None]
        native = with_typed_nulls(native, processing.nulls, numeric=numeric)
        if native.crs is not None:
            return native
        from d4c_pipeline.readers import coordinates  # noqa: PLC0415 - PROJ and GEOS, for features only

        return coordinates.with_geometry(native, processing, member.path, threads=threads)

    return Part(member.name, layer, placed)


def while_loading(work: Callable[[], Result], *modules: str) -> Result:
    """Return the result of `work`, run in a thread while the calling thread imports `modules` of the package.

    Unpacking and parsing release the interpreter lock, so a cold process imports GEOS and PROJ meanwhile.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="d4c-beside") as pool:
        done = pool.submit(work)
        for module in modules:
            import_module(f"d4c_pipeline.{module}")
        return done.result()
