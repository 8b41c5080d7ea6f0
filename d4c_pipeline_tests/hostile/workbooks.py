"""Workbooks whose sheets, cells, texts or parts have no end."""

# ruff: noqa: E501, UP031 - bytes are made in one expression where that is the clearest

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from d4c_pipeline_tests.hostile.attack import Attack

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TOO_BIG = ("spans", "D4C_READ", "times")


def attacks() -> Iterator[Attack]:
    """Yield the attacks."""
    head = '<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c><c r="B1" t="inlineStr"><is><t>b</t></is></c></row>'
    row = '<row r="2"><c r="A2"><v>1</v></c><c r="B2"><v>2</v></c></row>'
    rows = {
        "a cell far away": '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
        "a cell beyond all": '<row r="999999999"><c r="ZZZZZZ999999999"><v>1</v></c></row>',
        "a cell at 2^32": '<row r="4294967295"><c r="A4294967295"><v>1</v></c></row>',
        "a cell of no place": '<row r="0"><c r="A0"><v>1</v></c></row>',
        "a row of no number": '<row r="x"><c r="?"><v>1</v></c></row>',
        "a row far away without a cell": '<row r="4294967295"></row>',
        "a cell without r after a far row": '<row r="900000000"><c><v>1</v></c></row>',
        "a diagonal": "".join(f'<row r="{n}"><c r="{_letters(n)}{n}"><v>1</v></c></row>' for n in range(3, 12_000)),
        "a cell far away, spaces": "<row  r='1048576' ><c  r='XFD1048576' ><v>1</v></c></row>",
        "a cell far away, prefixed": '<x:row xmlns:x="%s" r="1048576"><x:c r="XFD1048576"><x:v>1</x:v></x:c></x:row>'
        % _MAIN,
        "a shared text that is not there": '<row r="3"><c r="A3" t="s"><v>99999999</v></c></row>',
        "a number of 1 MB": f'<row r="3"><c r="A3"><v>{"9" * 1_000_000}</v></c></row>',
        "a date of no year": '<row r="3"><c r="A3" t="d"><v>99999-99-99</v></c></row>',
        "a number beyond all": '<row r="3"><c r="A3"><v>1e999</v></c></row>',
        "a date beyond all": '<row r="3"><c r="A3" s="1"><v>1e15</v></c></row>',
        "a negative date": '<row r="3"><c r="A3" s="1"><v>-1e15</v></c></row>',
    }
    for name, more in rows.items():
        sheet = head + row + more
        yield Attack(
            f"XLSX, {name}",
            "a.xlsx",
            lambda p, s=sheet: xlsx(p, s),
            _TOO_BIG if "far away" in name and "without" not in name else (),
        )
    yield Attack("XLSX, dimension of all", "a.xlsx", lambda p: xlsx(p, head + row, dimension="A1:XFD1048576"))
    merged = "<mergeCells>{}</mergeCells>"
    yield Attack(
        "XLSX, all merged",
        "a.xlsx",
        lambda p: xlsx(p, head + row, after=merged.format('<mergeCell ref="A2:XFD1048576"/>')),
        (),
        "table",
        {"merged": "fill"},
    )
    many = "".join(f'<mergeCell ref="A{n}:B{n}"/>' for n in range(1, 500_000))
    yield Attack(
        "XLSX, 500,000 merged",
        "a.xlsx",
        lambda p: xlsx(p, head + row, after=merged.format(many)),
        (),
        "table",
        {"merged": "fill"},
    )
    many = '<mergeCell ref="A2:XFD1048576"/>' * 100_000
    yield Attack(
        "XLSX, all merged 100,000 times",
        "a.xlsx",
        lambda p: xlsx(p, head + row, after=merged.format(many)),
        (),
        "table",
        {"merged": "fill"},
    )
    hidden = "<cols>" + '<col min="1" max="16384" hidden="1"/>' * 50_000 + "</cols>"
    yield Attack("XLSX, all hidden 50,000 times", "a.xlsx", lambda p: xlsx(p, head + row, before=hidden))
    hidden = '<cols><col min="1" max="99999999999" hidden="1"/></cols>'
    yield Attack("XLSX, hidden without end", "a.xlsx", lambda p: xlsx(p, head + row, before=hidden))
    repeated = "".join(
        f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c><c r="B{n}"><v>1</v></c></row>' for n in range(2, 3_000)
    )
    yield Attack(
        "XLSX, a text of 20 MB 3,000 times",
        "a.xlsx",
        lambda p: xlsx(p, head + repeated, shared="<si><t>" + "x" * (20 << 20) + "</t></si>"),
        _TOO_BIG,
    )
    cells = "".join(
        f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c><c r="B{n}"><v>1</v></c></row>' for n in range(2, 200_000)
    )
    yield Attack(
        "XLSX, a text of 30 kB 200,000 times",
        "a.xlsx",
        lambda p: xlsx(p, head + cells, shared="<si><t>" + "x" * 30_000 + "</t></si>"),
        _TOO_BIG,
    )
    yield Attack(
        "XLSX, 20 M shared texts",
        "a.xlsx",
        lambda p: xlsx(p, head + row, shared="<si><t>x</t></si>" * 20_000_000),
        _TOO_BIG,
    )
    yield Attack(
        "XLSX, a shared text of 500 MB",
        "a.xlsx",
        lambda p: xlsx(p, head + row, shared="<si><t>" + "x" * (500 << 20) + "</t></si>"),
        _TOO_BIG,
    )
    yield Attack(
        "XLSX, a sheet of 500 MB of spaces", "a.xlsx", lambda p: xlsx(p, head + row + " " * (500 << 20)), _TOO_BIG
    )
    yield Attack(
        "XLSX, a row of 300 MB",
        "a.xlsx",
        lambda p: xlsx(p, head + '<row r="2">' + '<c r="A2"><v>1</v></c>' * (12 << 20) + "</row>"),
        _TOO_BIG,
    )
    yield Attack(
        "XLSX, 30,000 columns",
        "a.xlsx",
        lambda p: xlsx(
            p,
            head + '<row r="2">' + "".join(f'<c r="{_letters(n)}2"><v>1</v></c>' for n in range(1, 16_000)) + "</row>",
        ),
        (),
    )
    yield Attack("XLSX, 50,000 sheets", "a.xlsx", lambda p: xlsx(p, head + row, sheets=50_000), ("D4C_READ", "sheet"))
    yield Attack(
        "XLSX, a sheet of 100,000 levels", "a.xlsx", lambda p: xlsx(p, head + "<row>" * 100_000 + "</row>" * 100_000)
    )
    yield Attack(
        "XLSX, styles of 100,000 levels",
        "a.xlsx",
        lambda p: xlsx(p, head + row, styles="<a>" * 100_000 + "</a>" * 100_000),
    )
    yield Attack("XLSX, styles of 60 MB", "a.xlsx", lambda p: xlsx(p, head + row, styles="<a/>" * (15 << 20)))
    yield Attack("XLSX, entities", "a.xlsx", lambda p: xlsx(p, head + row, doctype=True))
    yield Attack("XLSX, 300,000 parts", "a.xlsx", lambda p: xlsx(p, head + row, parts=300_000))
    for columns, count in ((2_000_000_000, 1), (16_384, 1), (1, 2_000_000_000), (1_000_000, 1_000_000)):
        yield Attack(
            f"ODS, {count:,} rows of {columns:,} times the same",
            "a.ods",
            lambda p, c=columns, r=count: ods(
                p,
                f'<table:table-row table:number-rows-repeated="{r}"><table:table-cell table:number-columns-repeated="{c}" office:value-type="float" office:value="1"><text:p>1</text:p></table:table-cell></table:table-row>',
            ),
            _TOO_BIG if columns * count > 1e6 else (),
        )
    yield Attack(
        "ODS, a far cell",
        "a.ods",
        lambda p: ods(
            p,
            '<table:table-row table:number-rows-repeated="1000000"><table:table-cell/></table:table-row><table:table-row><table:table-cell table:number-columns-repeated="16000"/><table:table-cell office:value-type="float" office:value="1"><text:p>1</text:p></table:table-cell></table:table-row>',
        ),
        _TOO_BIG,
    )
    yield Attack(
        "ODS, 2 G spaces",
        "a.ods",
        lambda p: ods(
            p,
            '<table:table-row><table:table-cell office:value-type="string"><text:p>x<text:s text:c="2000000000"/></text:p></table:table-cell></table:table-row>',
        ),
    )
    yield Attack(
        "ODS, no number",
        "a.ods",
        lambda p: ods(
            p,
            '<table:table-row table:number-rows-repeated="x"><table:table-cell table:number-columns-repeated="-5"/></table:table-row>',
        ),
    )
    yield Attack(
        "ODS, 100,000 levels",
        "a.ods",
        lambda p: ods(
            p,
            '<table:table-row><table:table-cell office:value-type="string"><text:p>'
            + "<text:span>" * 100_000
            + "x"
            + "</text:span>" * 100_000
            + "</text:p></table:table-cell></table:table-row>",
        ),
    )
    yield Attack(
        "ODS, a text of 500 MB",
        "a.ods",
        lambda p: ods(
            p,
            '<table:table-row><table:table-cell office:value-type="string"><text:p>'
            + "x" * (500 << 20)
            + "</text:p></table:table-cell></table:table-row>",
        ),
        _TOO_BIG,
    )
    yield Attack(
        "ODS, a span of 2 G",
        "a.ods",
        lambda p: ods(
            p,
            '<table:table-row><table:table-cell table:number-columns-spanned="2000000000" table:number-rows-spanned="2000000000" office:value-type="string"><text:p>x</text:p></table:table-cell></table:table-row>',
        ),
        (),
        "table",
        {"merged": "fill"},
    )
    yield Attack(
        "ODS, entities behind 5 kB",
        "a.ods",
        lambda p: ods(
            p,
            "",
            prolog="<!--"
            + "x" * 5000
            + '--><!DOCTYPE x [<!ENTITY a "'
            + "y" * 1000
            + '"><!ENTITY b "'
            + "&a;" * 1000
            + '"><!ENTITY c "'
            + "&b;" * 1000
            + '">]>',
            text="&c;",
        ),
        ("entities",),
    )
    for file in ("a.xls", "a.xlsx", "a.xlsb", "a.ods"):
        yield Attack(
            f"{file}: an OLE head and zeros",
            file,
            lambda p: p.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1 << 20)),
        )
        yield Attack(
            f"{file}: an OLE head and ones",
            file,
            lambda p: p.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * (1 << 20)),
        )
    for seed in range(24):
        yield Attack(f"XLSX damaged {seed}", "a.xlsx", lambda p, s=seed: damaged(p, s))
        yield Attack(f"XLS damaged {seed}", "a.xls", lambda p, s=seed: damaged_xls(p, s))
    yield Attack("XLS, as it should be", "a.xls", lambda p: p.write_bytes(xls((1, 0, 1.0), (1, 1, 2.0))))
    yield Attack(
        "XLS, a cell far away", "a.xls", lambda p: p.write_bytes(xls((1, 0, 1.0), (65_535, 255, 2.0))), _TOO_BIG
    )
    yield Attack(
        "XLS, a cell beyond all", "a.xls", lambda p: p.write_bytes(xls((1, 0, 1.0), (65_535, 65_535, 2.0))), _TOO_BIG
    )
    for name, at, kind, value in (
        ("a sector of 2^60", 30, "<H", 60),
        ("a sector of 2^65535", 30, "<H", 65535),
        ("a sector of 1", 30, "<H", 0),
        ("a chain in a circle", 68, "<I", 0),
        ("4 G sectors", 44, "<I", 0xFFFFFFFF),
    ):
        yield Attack(
            f"XLS, {name}", "a.xls", lambda p, a=at, k=kind, v=value: p.write_bytes(replaced(xls((1, 0, 1.0)), a, k, v))
        )


def _letters(number: int) -> str:
    out = ""
    while number:
        number, rest = divmod(number - 1, 26)
        out = chr(65 + rest) + out
    return out


def xlsx(
    path: Path, rows: str, *, shared: str = "", dimension: str = "", before: str = "", after: str = "", sheets: int = 1,
    styles: str = "", doctype: bool = False, parts: int = 0,
) -> None:  # fmt: skip
    """A workbook whose first sheet has these rows, as XML."""
    head = '<?xml version="1.0"?>'
    entity = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>' if doctype else ""
    listed = "".join(f'<sheet name="s{n}" sheetId="{n}" r:id="r{n}"/>' for n in range(1, sheets + 1))
    related = "".join(
        f'<Relationship Id="r{n}" Type="{_RELATIONS}/worksheet" Target="worksheets/s{n}.xml"/>'
        for n in range(1, sheets + 1)
    )
    related += f'<Relationship Id="x1" Type="{_RELATIONS}/sharedStrings" Target="sharedStrings.xml"/><Relationship Id="x2" Type="{_RELATIONS}/styles" Target="styles.xml"/>'
    dates = '<numFmts count="0"/><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
    with zipfile.ZipFile(
        path, "w", zipfile.ZIP_DEFLATED, compresslevel=1 if len(rows) + len(shared) < 1 << 28 else 9
    ) as archive:
        archive.writestr("[Content_Types].xml", f'{head}<Types xmlns="{_PACKAGE}/content-types"></Types>')
        archive.writestr(
            "_rels/.rels",
            f'{head}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'{head}{entity}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>{listed}</sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'{head}<Relationships xmlns="{_PACKAGE}/relationships">{related}</Relationships>',
        )
        archive.writestr("xl/styles.xml", f'{head}<styleSheet xmlns="{_MAIN}">{dates}{styles}</styleSheet>')
        archive.writestr("xl/sharedStrings.xml", f'{head}<sst xmlns="{_MAIN}">{shared}</sst>')
        extent = f'<dimension ref="{dimension}"/>' if dimension else ""
        sheet = f'{head}<worksheet xmlns="{_MAIN}">{extent}{before}<sheetData>{rows}</sheetData>{after}</worksheet>'
        archive.writestr("xl/worksheets/s1.xml", sheet)
        empty = f'{head}<worksheet xmlns="{_MAIN}"><sheetData/></worksheet>'
        for number in range(2, sheets + 1):
            archive.writestr(f"xl/worksheets/s{number}.xml", empty)
        for number in range(parts):
            archive.writestr(f"x/{number}", b"")


def ods(path: Path, rows: str, *, prolog: str = "", text: str = "b") -> None:
    """An OpenDocument workbook with a sheet of these rows, as XML."""
    spaces = "".join(f' xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{n}:1.0"' for n in ("office", "table", "text"))
    names = f'<table:table-row><table:table-cell office:value-type="string"><text:p>a</text:p></table:table-cell><table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell></table:table-row>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        archive.writestr(
            "META-INF/manifest.xml",
            '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>',
        )
        archive.writestr(
            "content.xml",
            f'<?xml version="1.0"?>{prolog}<office:document-content{spaces}><office:body><office:spreadsheet>'
            f'<table:table table:name="s">{names}{rows}</table:table></office:spreadsheet></office:body></office:document-content>',
        )


def damaged(path: Path, seed: int) -> None:
    """A workbook, packed without compression, with a few bytes replaced."""
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c><c r="B{n}"><v>1.5</v></c></row>' for n in range(2, 200))
    xlsx(path, rows)
    out = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for each in source.namelist():
            data, random = bytearray(source.read(each)), np.random.default_rng(seed)
            for at in random.integers(0, len(data), 3):
                data[at] = int(random.integers(256))
            target.writestr(each, bytes(data))
    path.write_bytes(out.getvalue())


def _record(kind: int, body: bytes) -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def xls(*cells: tuple[int, int, float]) -> bytes:
    """A workbook of the old format (BIFF8 in a compound file) with these numbers below the names a and b."""

    def label(column: int, text: str) -> bytes:
        return _record(0x204, struct.pack("<HHHHB", 0, column, 0, len(text), 0) + text.encode())

    numbers = b"".join(_record(0x203, struct.pack("<HHHd", row, column, 0, value)) for row, column, value in cells)
    begin = _record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 0))
    sheet = begin + label(0, "a") + label(1, "b") + numbers + _record(0x0A, b"")
    top = _record(0x809, struct.pack("<HHHHII", 0x600, 5, 0, 0, 0, 0))
    at = len(top) + 4 + 9 + 4
    top += _record(0x85, struct.pack("<IBBBB", at, 0, 0, 1, 0) + b"s") + _record(0x0A, b"")
    stream = top + sheet
    stream = stream.ljust(-(-max(len(stream), 4096) // 512) * 512, b"\0")
    count = len(stream) // 512
    fat = [0xFFFFFFFD, 0xFFFFFFFE, *range(3, count + 2), 0xFFFFFFFE]
    assert len(fat) <= 128
    fat += [0xFFFFFFFF] * (128 - len(fat))

    def entry(name: str, kind: int, first: int, size: int, child: int) -> bytes:
        raw = name.encode("utf-16-le") + b"\0\0"
        tail = struct.pack("<HBBIII16xI16xII4x", len(raw), kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, child, 0, first, size)
        return raw.ljust(64, b"\0") + tail

    folder = entry("Root Entry", 5, 0xFFFFFFFE, 0, 1) + entry("Workbook", 2, 2, len(stream), 0xFFFFFFFF)
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    head += struct.pack("<109I", 0, *[0xFFFFFFFF] * 108)
    return head + struct.pack("<128I", *fat) + folder.ljust(512, b"\0") + stream


def damaged_xls(path: Path, seed: int) -> None:
    """A workbook of the old format with some bytes replaced."""
    data = bytearray(xls(*((row, column, row / 7) for row in range(1, 200) for column in (0, 1))))
    random = np.random.default_rng(seed)
    for at in random.integers(
        8 if seed % 3 == 0 else 512, 512 if seed % 3 == 0 else len(data), 10 if seed % 2 else 100
    ):
        data[at] = int(random.integers(256))
    path.write_bytes(data)


def replaced(data: bytes, at: int, kind: str, value: int) -> bytes:
    """Return `data` with another number at `at`."""
    out = bytearray(data)
    struct.pack_into(kind, out, at, value)
    return bytes(out)
