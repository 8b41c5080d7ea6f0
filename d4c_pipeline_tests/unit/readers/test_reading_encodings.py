"""Detection of encodings and of wrongly decoded text."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers import dbf, encoding
from d4c_pipeline.readers.encoding import Texts, detect, is_mojibake, mojibake

FRENCH = "Québec – l’Île-d’Orléans, Œuvre «Noël», façade, où, là, Ça, À côté, CAFÉ»"
WRONG = [
    "é".encode().decode("cp1252"),  # Ã©
    "Montr" + "é".encode().decode("latin-1") + "al",
    "l" + "’".encode().decode("cp1252") + "art",
    "À".encode().decode("latin-1"),
    "œuvre".encode().decode("cp1252"),
    "Québec".encode("cp850").decode("cp1252"),
    "Rivière".encode("cp437").decode("cp1252"),
    "Québec".encode("cp1252").decode("cp437"),
    "Québec".encode("cp1252").decode("cp850"),
    "Québec".encode("cp1252").decode("mac_roman"),
    "Québec".encode().decode("cp437"),
    "Québec".encode().decode("mac_roman"),
    "Québec".encode("cp1252").decode("utf-8", "replace"),
    "l’art".encode("cp1252").decode("latin-1"),
    "Montréal".encode("mac_roman").decode("cp1252"),
    "Gaspé".encode("mac_roman").decode("cp1252"),
    "Cécile".encode("mac_roman").decode("cp1252"),
    "École".encode("mac_roman").decode("cp1252"),
    "hôtel".encode("mac_roman").decode("cp1252"),
    "voilà".encode("mac_roman").decode("cp1252"),
    "connaître".encode("cp850").decode("cp1252"),
    "cœur".encode("iso8859-15").decode("cp1252"),
    "ᐃᓄᒃᑎᑐᑦ".encode().decode("latin-1"),
]


@pytest.mark.parametrize("text", WRONG)
def test_text_in_a_wrong_encoding_is_recognised(text: str) -> None:
    assert is_mojibake(text), text


@pytest.mark.parametrize(
    "text",
    [
        FRENCH,
        FRENCH.upper(),
        "ᐃᓄᒃᑎᑐᑦ ᓄᓇᕗᑦ",
        "Tłı̨chǫ, Wəl̓məxʷ, xʷməθkʷəy̓əm",
        "Åland, SÃO PAULO, Ôkî, Łódź, Šibenik",
        "25 °C ± 0,5 – 30 µg/m³ · “quoted” … 50 €",
        "CAFÉ”, «À», É… Ö’s",
        "Α–Ω, Θ is an angle, a√b",
        "Žižek, Škoda, ŠKODA, ŒUVRE, SŒUR, Œdipe, 25‰, Brand™, 1½ lb, ‚Wort‘, „Wort“, Nord–Sud, valeur†, L’HAŸ",
    ],
)
def test_correct_text_is_not_mojibake(text: str) -> None:
    assert not is_mojibake(text)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyzéèêëàâäçîïôöùûüÿÉÈÀÇ '-’", min_size=1))
def test_french_is_mojibake_only_after_a_wrong_decoding(text: str) -> None:
    text = text.replace("’", " ")
    lower = text.lower()
    assert not is_mojibake(lower)
    if not lower.isascii():
        assert is_mojibake(lower.encode().decode("latin-1"))


def test_a_column_is_counted_with_examples() -> None:
    column = pa.chunked_array([["Québec", "QuÃ©bec", None], ["QuÃ©bec", "plain", "Montr\ufffdal"]])
    found = mojibake(column)
    assert (found.count, found.examples) == (3, ("QuÃ©bec", "Montr\ufffdal"))
    assert mojibake(pa.array([1, 2])).count == 0
    assert mojibake(pa.array([], pa.string())).count == 0


@given(st.lists(st.sampled_from([*WRONG, FRENCH, "plain", "Québec"]), min_size=1, max_size=20))
def test_a_column_counts_the_mojibake_of_its_values(values: list[str]) -> None:
    assert mojibake(pa.array(values)).count == sum(map(is_mojibake, values))


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "utf-32", "utf-16", "utf-8", "utf-8-sig", "cp1252"])
def test_every_encoding_of_the_same_text_is_found(tmp_path: Path, name: str) -> None:
    text = "id,nom\n1,Québec – l’été\n"
    (tmp_path / "t.csv").write_bytes(text.encode(name))
    found = detect(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text(found) == text


NAMES = ["Montréal", "Québec", "Gaspé", "Trois-Rivières", "L’Île-d’Orléans", "Saint-Jérôme", "Besançon", "Noël", "là"]


@pytest.mark.parametrize("name", ["cp1252", "mac_roman", "cp850", "cp437"])
@pytest.mark.parametrize("count", [1, 2, 3, len(NAMES)])
def test_text_of_other_machines_is_read_right_or_refused(tmp_path: Path, name: str, count: int) -> None:
    known = [each.replace("L’Île", "île") if name in ("cp850", "cp437") else each for each in NAMES[:count]]
    known = [each.replace("’", "'") if name in ("cp850", "cp437") else each for each in known]
    content = "id,nom\n" + "\n".join(f"1,{each}" for each in known)
    (tmp_path / "t.csv").write_bytes(content.encode(name))
    assert content == content.encode(name).decode(detect(tmp_path / "t.csv"))


def test_words_that_fit_several_encodings_or_none_are_refused(tmp_path: Path) -> None:
    # 8E is A with diaeresis in cp850, A with grave in cp863.
    (tmp_path / "a.csv").write_bytes(b"x\nQu\x82bec\n\x8e\x85\n")
    with pytest.raises(
        DataError, match=r"a\.csv is ambiguous: a word reads Qu‚bec in Windows-1252, Québec in DOS"
    ) as refusal:
        detect(tmp_path / "a.csv")
    assert refusal.value.remedy == "Declare processing.encoding (cp1252, cp850, cp863)"
    (tmp_path / "b.csv").write_bytes(b"x\n\xe9t\xe9\n\x8d\xe9\n")
    with pytest.raises(DataError, match="has bytes that Windows-1252 does not define"):
        detect(tmp_path / "b.csv")


def test_utf8_with_a_broken_line_is_refused(tmp_path: Path) -> None:
    content = "x\n" + "Québec, Montréal\n" * 9
    (tmp_path / "a.csv").write_bytes(content.encode() + "Gaspé\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"a\.csv is UTF-8 text, except line 11"):
        detect(tmp_path / "a.csv")


@pytest.mark.parametrize("other", ["cp1252", "cp850", "mac_roman"])
def test_lines_in_two_encodings_are_refused(tmp_path: Path, other: str) -> None:
    lines = ["Gaspé".encode(other), "Québec".encode(), b"Oka"]
    (tmp_path / "a.csv").write_bytes(b"\n".join([b"x", *lines, b""]))
    with pytest.raises(DataError, match=r"a\.csv is UTF-8 text in line 3, and text of another encoding in line 2"):
        detect(tmp_path / "a.csv")
    # A capital letter with an accent before a quote is no letter of UTF-8.
    (tmp_path / "b.csv").write_bytes("x\nGaspé\nCAFÉ»\n".encode("cp1252"))
    assert detect(tmp_path / "b.csv") == "cp1252"


def test_names_of_all_places_are_not_mojibake_and_their_encoding_is_detected(fixtures: Path, tmp_path: Path) -> None:
    sql = (fixtures / "13_dguid_names_2021/geographies.sql").read_text("utf-8")
    names = sorted({name for name in re.findall(r"'([^'\n]{2,80})'", sql) if not name.isascii()})
    names = [name for name in names if not re.search("[\x80-\x9f]", name)]  # some are wrong there
    assert len(names) > 1500
    assert [name for name in names if is_mojibake(name)] == []
    path = tmp_path / "t.csv"
    right = dict.fromkeys(("cp1252", "mac_roman", "cp850"), 0)
    groups = ["\n".join(names[start::37]) for start in range(37)]
    for text in groups:
        for name in right:
            path.write_bytes(text.encode(name))
            try:
                found = detect(path)
            except DataError:
                continue
            assert path.read_bytes().decode(found) == text
            right[name] += 1
    # cp863 and cp850 differ only in capitals, so both may fit.
    assert (right["cp1252"], right["mac_roman"]) == (37, 37)
    assert right["cp850"] >= 25


def table(path: Path, values: list[bytes], driver: int) -> Path:
    header = bytearray(65)
    header[0] = 3
    header[4:12] = len(values).to_bytes(4, "little") + (65).to_bytes(2, "little") + (21).to_bytes(2, "little")
    header[29] = driver
    header[32:44] = b"NAME\0\0\0\0\0\0\0C"
    header[48] = 20
    header[64] = 0x0D
    path.write_bytes(bytes(header) + b"".join(b" " + value.ljust(20)[:20] for value in values))
    return path


def test_ansi_of_a_dbf_is_what_its_bytes_are(tmp_path: Path) -> None:
    # Programs that write UTF-8 and programs that write Windows-1252 both write 0x57.
    assert dbf.dbf_encoding(table(tmp_path / "a.dbf", ["Québec".encode(), b"x"], 0x57)) == "utf-8"
    assert dbf.dbf_encoding(table(tmp_path / "b.dbf", ["Québec".encode("cp1252")], 0x57)) == "cp1252"
    # The width of the field splits the last character of a value, as often in UTF-8.
    cut = ["é".encode() * 10, b"a" + "é".encode() * 10]
    assert dbf.dbf_encoding(table(tmp_path / "c.dbf", cut, 0)) == "utf-8"


def test_latin1_with_windows_bytes_is_windows(tmp_path: Path) -> None:
    (tmp_path / "a.cpg").write_text("ISO-8859-1")
    assert dbf.dbf_encoding(table(tmp_path / "a.dbf", ["l’été".encode("cp1252")], 0)) == "cp1252"
    assert dbf.dbf_encoding(table(tmp_path / "a.dbf", ["l'été".encode("cp1252")], 0)) == "iso8859-1"


def test_a_character_cut_by_a_fields_width_is_dropped_and_counted() -> None:
    report: dict[str, object] = {}
    raw = pa.array([b"Montr\xc3\xa9al", b"Montr\xc3", None], pa.binary())
    column = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    checked = Texts("a.dbf", "utf-8", report, fixed_width=True).checked(column, "name")
    assert checked.to_pylist() == ["Montréal", "Montr", None]
    assert report == {"text_cut": 1}


@given(st.binary(max_size=12), st.integers(min_value=0, max_value=12))
def test_utf8_is_seen_across_blocks(tail: bytes, cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_BLOCK", 4)
        for content in (tail, ("a" * cut + "é’𐀀ᐃ" * 3).encode(), ("é" * cut).encode() + tail):
            path = Path(folder) / "t"
            path.write_bytes(content)
            try:
                content.decode("utf-8")
            except UnicodeDecodeError:
                assert not encoding.is_utf8(path, start=0)
            else:
                assert encoding.is_utf8(path, start=0) == (not content.isascii())
                assert encoding.is_utf8(path, start=0, also_ascii=True)
