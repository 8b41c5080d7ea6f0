"""Applies the declared corrections to the rows of the source, before anything else is done with them.

A correction is bound to the value that it replaces: when the source changes it, the build stops, so that no correction
overwrites a newer value. The declaration belongs to `model.corrections`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.corrections import Correction, shown
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.native import Native

REPORT = "corrections"
"""Key of the report: the places of the applied corrections."""
_MOST_NAMES = 40


def corrected(native: Native, corrections: Sequence[Correction]) -> Native:
    """Return `native` with the corrections applied to its batches; its report lists them.

    Raises DataError at once for a missing column or a value that does not fit its type. The batches raise DataError
    when the source has changed under a correction, or when two corrections have the same value.
    """
    if not corrections:
        return native
    bound = [_Bound.of(native, each) for each in corrections]
    native.report[REPORT] = [each.place for each in corrections]
    return replace(native, batches=_applied(native.batches, bound))


@dataclass
class _Bound:
    """A correction in the types of the source's columns. `found`: the number of selected rows so far."""

    correction: Correction
    where: list[tuple[int, pa.Scalar]]
    position: int
    old: pa.Scalar
    new: pa.Scalar
    found: int = 0

    @classmethod
    def of(cls, native: Native, correction: Correction) -> _Bound:
        names = native.attributes.names
        missing = [name for name in (*correction.where, correction.column) if name not in names]
        if missing:
            raise DataError(
                f"The correction of {correction.place} names missing columns: {', '.join(missing)}; there are "
                f"{', '.join(names[:_MOST_NAMES])}",
                "Correct processing.corrections: columns have their names at the source",
            )
        types = {name: native.attributes.field(name).type for name in names}
        column = types[correction.column]
        return cls(
            correction,
            [(names.index(name), _scalar(value, types[name], correction)) for name, value in correction.where.items()],
            names.index(correction.column),
            _scalar(correction.old, column, correction),
            _scalar(correction.new, column, correction),
        )

    def selected(self, batch: pa.RecordBatch) -> pa.Array:
        """Return the mask of the rows that `where` selects."""
        mask: pa.Array | None = None
        for position, value in self.where:
            each = _equal(_plain(batch.column(position)), value)
            mask = each if mask is None else pc.and_(mask, each)
        if mask is None:
            raise ValueError("a correction without where")
        return mask

    def check(self, batch: pa.RecordBatch, mask: pa.Array) -> None:
        """Raise DataError when a selected row has another value than `old`."""
        values = _plain(batch.column(self.position))
        wrong = pc.and_(mask, pc.invert(_equal(values, self.old)))
        if not pc.any(wrong).as_py():
            return
        (value, *_) = values.filter(wrong).to_pylist()
        already = bool(pc.all(_equal(values.filter(wrong), self.new)).as_py())
        place, old = self.correction.place, shown(self.correction.old)
        raise DataError(
            f"The source changed under the correction of {place}: it has {shown(value)} now, not {old}",
            "The source has corrected it: remove the correction"
            if already
            else "Compare the source with its documents, then change or remove the correction",
        )

    def finish(self) -> None:
        """Raise DataError when `where` selected another number of rows than declared."""
        if self.found != self.correction.rows:
            raise DataError(
                f"The correction of {self.correction.place} selects {self.found} rows of the source, not "
                f"{self.correction.rows}",
                "The source has changed, or `where` is wrong: change or remove the correction, or declare its `rows`",
            )


def _applied(batches: Iterator[pa.RecordBatch], bound: Sequence[_Bound]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        masks = [each.selected(batch) for each in bound]
        columns, changed = list(batch.columns), dict[int, pa.Array]()
        for each, mask in zip(bound, masks, strict=True):
            rows = pc.sum(mask).as_py() or 0
            if not rows:
                continue
            each.found += rows
            each.check(batch, mask)
            before = changed.get(each.position)
            if before is not None and pc.any(pc.and_(before, mask)).as_py():
                raise DataError(
                    f"Two corrections have the same value: {each.correction.place}", "Keep one of the two corrections"
                )
            changed[each.position] = mask if before is None else pc.or_(before, mask)
            column = columns[each.position]
            columns[each.position] = pc.if_else(mask, each.new, _plain(column)).cast(column.type)
        yield pa.RecordBatch.from_arrays(columns, schema=batch.schema) if changed else batch
    for each in bound:
        each.finish()


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _equal(values: pa.Array, wanted: pa.Scalar) -> pa.Array:
    if not wanted.is_valid:
        return pc.is_null(values)
    return pc.fill_null(pc.equal(values, wanted), False)


def _scalar(value: str | None, kind: pa.DataType, correction: Correction) -> pa.Scalar:
    """Return a declared value in the type of its column."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    try:
        return pa.scalar(value, pa.string()).cast(plain)
    except pa.ArrowException as error:
        raise DataError(
            f"The correction of {correction.place} has {shown(value)}, which is no value of the type {plain}",
            "Write the values of processing.corrections as the source has them",
        ) from error
