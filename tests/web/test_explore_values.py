"""Values of strangers as cells: what is shown, what is folded, and that none of it is markup."""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
import unicodedata
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from samples import SAMPLES, picture, sound

from fdss.arguments import LoadArguments
from fdss.router.app import create_router_app
from fdss.router.proxy import RowsPage
from fdss.router.router import Router
from fdss.rows import features_of
from fdss.web.explore_links import Place
from fdss.web.explore_opening import Opened
from fdss.web.explore_rows import WHOLE, page_of
from fdss.web.pages import render
from fdss.web.values import Cell, Fold, Room, cell_of
from fdss.web.values_charts import chart_of
from fdss.web.values_inside import MOST_LEVELS, TOO_DEEP, inside, json_text
from fdss.web.values_text import pieces, shortened, visible
from fdss.web.values_types import type_words
from fdss.wire.names import TAGGED
from fdss.wire.ndjson import decode_lines, encode_batch

IMAGE = {"_type": "Image"}
AUDIO = {"_type": "Audio"}
STRING = {"_type": "Value", "dtype": "string"}
LABEL = {"_type": "ClassLabel", "names": ["no", "<b>yes</b>"]}
KINDS = {
    "audio",
    "bool",
    "bytes",
    "decimal",
    "dict",
    "file",
    "image",
    "label",
    "list",
    "more",
    "none",
    "number",
    "special",
    "text",
    "time",
}
SHOWN_FORMATS = {
    0x200C,
    0x200D,
    *range(0x600, 0x606),
    0x6DD,
    0x70F,
    0x890,
    0x891,
    0x8E2,
    0x110BD,
    0x110CD,
}
TAGS = {
    *("html", "head", "meta", "title", "link", "script", "body", "header", "nav", "main", "a"),
    *("div", "span", "p", "h1", "ol", "li", "form", "label", "input", "select", "option", "b"),
    *("button", "code", "table", "caption", "thead", "tbody", "tr", "th", "td", "bdi", "small"),
    *("figure", "figcaption", "svg", "rect", "details", "summary", "dl", "dt", "dd", "img"),
    *("audio", "kbd"),
}

texts = st.text(st.characters(codec=None), max_size=300) | st.sampled_from(
    ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "{{ 7*7 }}", "</td>", "&lt;"]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.binary(max_size=60)
    | st.decimals()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)
features: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, STRING, LABEL, IMAGE, AUDIO, {"_type": "Json"}, {"_type": 7}, [], 3]),
    lambda inner: (
        st.builds(lambda feature: {"_type": "List", "feature": feature}, inner)
        | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=6,
)


def _cell(value: Any, feature: Any = None, fold: Fold | None = None) -> Cell:
    return cell_of(value, feature, fold or Fold(), Room())


def _all(cell: Cell) -> list[Cell]:
    return [cell, *(inner for entry in cell.entries for inner in _all(entry.cell))]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def _page(rows: list[dict[str, Any]], told: dict[str, Any], names: list[str]) -> str:
    place = Place("0" * 12, LoadArguments("local/x"))
    opened = Opened("h" * 16, len(rows), tuple(names), told, "f" * 64)
    page = page_of(place, opened, RowsPage(rows, 0, len(rows), "f" * 64))
    app = create_router_app(Router([]), None)
    with app.test_request_context("/explore"):
        answer = render(
            "explore_rows.html", label="a", page=page, place=place, limits=(25,), splits=()
        )
    return answer.get_data(as_text=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=1, max_size=3), features, texts)
def test_no_value_becomes_markup(cells: list[Any], feature: Any, name: str) -> None:
    """Whatever cells, features and names hold, a page has only our own tags and attributes."""
    html = _page([{name: cell} for cell in cells], {name: feature}, [name])
    found = _Tags()
    found.feed(html)

    assert found.tags <= TAGS
    for tag, attribute, value in found.attributes:
        assert not attribute.startswith("on") and attribute != "style"
        if attribute in ("href", "src", "action"):
            assert (value or "").startswith(("/", "#main"))
        if tag == "script" and attribute == "src":
            assert (value or "").startswith("/static/")
    assert html.count("<script") == 2


@given(texts)
def test_short_text_is_shown_in_full(text: str) -> None:
    """A short text stands on the page with nothing lost and nothing hidden."""
    found = _Tags()
    found.feed(_page([{"c": text[:200]}], {"c": STRING}, ["c"]))

    assert (visible(text[:200]) or "empty text") in found.text


def test_what_has_no_glyph_is_an_escape() -> None:
    """Every control and format character is escaped, but those that writing needs."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if character in "\t\n" or code in SHOWN_FORMATS:
            assert visible(character) == character
        elif unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert visible(character).startswith("\\"), hex(code)


@given(texts)
def test_pieces_are_the_visible_text(text: str) -> None:
    """Pieces put together are the visible text, and escapes are told from text like them."""
    assert "".join(piece.text for piece in pieces(text)) == visible(text)
    assert all(piece.text for piece in pieces(text))
    assert [piece.is_escape for piece in pieces("\\x00\x00")] == [False, True]


def test_labels_are_one_line() -> None:
    """What stands in a title or a label is cut, and has no line ends."""
    assert shortened("a\nb\tc\x00", 10) == "a\\nb\\tc\\x00"
    assert shortened("x" * 11, 10) == "x" * 10 + "…"


@pytest.mark.parametrize(
    ("value", "feature", "kind", "head"),
    [
        (None, STRING, "none", "none"),
        (True, None, "bool", "true"),
        (-7, None, "number", "-7"),
        (0.1, {"_type": "Value", "dtype": "float64"}, "number", "0.1"),
        (0.10000000149011612, {"_type": "Value", "dtype": "float32"}, "number", "0.1"),
        (math.nan, None, "special", "nan"),
        (-math.inf, None, "special", "-inf"),
        (Decimal("1.10"), None, "decimal", "1.10"),
        (b"\x00\xffa", None, "bytes", "00 ff 61"),
        (dt.date(2024, 2, 29), None, "time", "2024-02-29"),
        (dt.datetime(2024, 2, 29, 1, 2, 3), None, "time", "2024-02-29T01:02:03"),
        (dt.timedelta(seconds=90), None, "time", "0:01:30"),
        (1, LABEL, "label", "<b>yes</b>"),
        (-1, LABEL, "special", "no label"),
        (9, LABEL, "number", "9"),
        ("text", LABEL, "text", "text"),
        (Decimal("sNaN"), LABEL, "decimal", "sNaN"),
        ([1, None, 2.5], None, "list", "[1, none, 2.5]"),
        ([], None, "list", "[]"),
        ({"a": 1}, None, "dict", "{a: 1}"),
        ('{"a": [1]}', {"_type": "Json"}, "dict", "{a: [1]}"),
        ("no json", {"_type": "Json"}, "text", "no json"),
    ],
)
def test_each_kind_of_value_has_its_look(value: Any, feature: Any, kind: str, head: str) -> None:
    """A value is shown as its kind, in words that one reads."""
    cell = _cell(value, feature)

    assert (cell.kind, cell.head) == (kind, head)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_feature_can_be_shown(name: str) -> None:
    """Values of every feature become cells, charts, type words and JSON."""
    batch = SAMPLES[name].stored()
    rows = decode_lines(encode_batch(batch, TAGGED).split(b"\n")[:-1])
    told = features_of(batch.schema)

    assert rows
    for column, feature in told.items():
        assert type_words(feature)
        assert chart_of([row[column] for row in rows], feature).words
        for row in rows:
            cells = _all(_cell(row[column], feature))
            assert {cell.kind for cell in cells} <= KINDS
            assert (cells[0].kind == "none") == (row[column] is None)
            json.loads(json_text(row[column], feature))


def test_long_text_is_folded() -> None:
    """Of a megabyte, some is shown, some folded, and the rest left to its own address."""
    cell = _cell("x" * 1_000_000)

    assert (len(cell.head), len(cell.rest), cell.is_cut) == (200, 4_000, True)
    assert cell.note == "1,000,000 characters"


def test_a_little_more_text_is_not_folded() -> None:
    """A text that is hardly longer than what is shown is shown."""
    assert _cell("x" * 250) == Cell("text", "x" * 250)
    assert _cell("x" * 251).rest == "x" * 51


@pytest.mark.parametrize(
    "value",
    [
        [{"role": "x" * 1000}] * 10_000,
        list(range(1_000_000)),
        {str(number): "y" * 500 for number in range(10_000)},
        [[["z" * 300] * 50] * 50] * 50,
    ],
    ids=["dicts", "numbers", "fields", "lists"],
)
def test_large_values_make_small_cells(value: Any) -> None:
    """However large a list or a dict is, its cell is small and says how much it holds."""
    cells = _all(_cell(value))

    assert len(cells) <= 101
    assert sum(len(cell.head) + len(cell.rest) for cell in cells) < 60_000
    assert f"{len(value):,}" in cells[0].note
    assert cells[0].is_cut


def test_deep_values_end_at_a_level() -> None:
    """Lists within lists are shown to a depth, and told to go on."""
    deep: Any = "bottom"
    for _ in range(500):
        deep = [deep]

    cells = _all(_cell(deep))

    assert len(cells) <= Fold().levels + 1
    assert cells[-1].is_cut
    assert TOO_DEEP in json_text(deep, None).decode()
    assert json_text(deep, None).count(b"[") == MOST_LEVELS


def test_a_full_page_takes_no_more() -> None:
    """When a page has what it can hold, further values are told to be elsewhere."""
    room = Room(characters=1_000, cells=50)
    cells = [cell_of("x" * 150, STRING, Fold(), room) for _ in range(20)]

    assert sum(len(cell.head) for cell in cells) < 1_200
    assert cells[-1].kind == "more"
    assert room.is_full


@pytest.mark.parametrize(
    "value",
    ["x" * 1_000_000, "a\x00" * 500_000, "<" * 1_000_000, [["<>"] * 50] * 50, {"&" * 90: "&" * 90}],
    ids=["long", "escapes", "markup", "lists", "dicts"],
)
def test_pages_are_bounded(value: Any) -> None:
    """A page of a hundred rows and forty columns has a few megabytes, whatever is in its cells."""
    names = [f"c{number}" for number in range(40)]
    rows = [dict.fromkeys(names, value)] * 100

    assert len(_page(rows, {}, names)) < 8_000_000


def test_images_and_sounds_are_known_by_their_bytes() -> None:
    """Whatever the path says, the bytes decide; of the path only its end is shown."""
    path = "/srv/secret/photo.svg"
    shown = _cell({"bytes": picture("RGB", "PNG"), "path": path}, IMAGE)
    heard = _cell({"bytes": sound(), "path": "C:\\secret\\a.wav"}, AUDIO)
    other = _cell({"bytes": b"<svg onload='x'/>", "path": path}, IMAGE)
    absent = _cell({"bytes": None, "path": path}, IMAGE)
    wrong = _cell({"bytes": sound(), "path": None}, IMAGE)

    assert [cell.kind for cell in (shown, heard, other, absent, wrong)] == [
        "image",
        "audio",
        "file",
        "file",
        "file",
    ]
    told = " ".join(cell.head + cell.note for cell in (shown, heard, other, absent, wrong))
    assert "secret" not in told
    assert "photo.svg" in told


def test_json_tells_no_path() -> None:
    """The JSON of a row has the bytes of an image, and of its path the last component."""
    told = {"photo": {"_type": "List", "feature": IMAGE}, "path": STRING}
    row = {"photo": [{"bytes": b"ab", "path": "/srv/secret/a.png"}], "path": "/data/of/the/row"}

    assert json.loads(json_text(row, told)) == {
        "photo": [{"bytes": {"__bytes_b64__": "YWI="}, "path": "a.png"}],
        "path": "/data/of/the/row",
    }


def test_places_in_values_are_found() -> None:
    """What a cell calls its place is where the value is, with its feature."""
    told = {"views": {"_type": "List", "feature": IMAGE}, "n": STRING}
    photo = {"bytes": picture("L", "PNG"), "path": None}
    value = {"n": "x", "views": [photo, photo]}

    (place,) = {cell.at for cell in _all(_cell(value, told)) if cell.kind == "image"} - {(1, 0)}
    assert place == (1, 1)
    assert inside(value, told, place) == (photo, IMAGE)
    for wrong in ((2,), (1, 2), (0, 0), (1, 0, 1)):
        with pytest.raises(LookupError):
            inside(value, told, wrong)


@pytest.mark.parametrize(
    ("column", "feature", "unit", "words"),
    [
        ([0, 1, 1, -1, None], LABEL, "values", "<b>yes</b> (1): 2; no (0): 1; -1: 1; 1 none"),
        ([True, False, True], None, "values", "true: 2; false: 1"),
        (["a", "b"] * 4, STRING, "values", '"a": 4; "b": 4'),
        (["a", "bbb", "cc", ""], STRING, "characters", "0: 1; 1: 1; 2: 1; 3: 1"),
        ([[1], [], [1, 2, 3]], None, "entries", "0: 1; 1: 1; 3: 1"),
        ([None, None], STRING, "", "2 none"),
        ([], STRING, "", "no values"),
        ([2.5, 2.5], None, "numbers", "2.5: 2"),
        ([math.nan, math.inf], None, "numbers", "no values"),
        ([{"a": 1}], None, "", "no values"),
    ],
)
def test_distributions_are_told(column: list[Any], feature: Any, unit: str, words: str) -> None:
    """A chart counts values if they are few, and otherwise numbers or lengths."""
    chart = chart_of(column, feature)

    assert (chart.unit, chart.words) == (unit, words)


@given(st.lists(st.integers() | st.floats() | st.decimals() | st.none(), max_size=40))
def test_every_number_is_in_one_bar(column: list[Any]) -> None:
    """The bars of a histogram hold each finite number once, and no bar is above the top."""
    chart = chart_of(column, None)
    known = [value for value in column if value is not None]
    finite = [value for value in known if _is_finite(value)]

    if chart.unit == "numbers":
        assert sum(bar.count for bar in chart.bars) == len(finite)
    assert chart.missing == len(column) - len(known)
    assert all(0 <= bar.height <= 100 for bar in chart.bars)


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (OverflowError, ValueError):
        return False


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ({"_type": "Value", "dtype": "int64"}, "int64"),
        (LABEL, "label, one of 2"),
        ([STRING], "list of string"),
        ({"_type": "List", "feature": STRING, "length": 3}, "list of 3 string"),
        ({"a": STRING, "b": IMAGE}, "{a: string, b: image}"),
        ({"_type": "Array2D", "shape": [None, 2], "dtype": "int8"}, "array any × 2 int8"),
        ({"_type": "Translation", "languages": ["de", "en"]}, "translation de, en"),
        ({"_type": "<b>"}, "<b>"),
        (7, "…"),
    ],
)
def test_types_are_told_in_words(feature: Any, words: str) -> None:
    """The head of a column says what its values are."""
    assert type_words(feature) == words


def test_the_page_of_one_row_shows_more() -> None:
    """A text that is folded in the table stands open on the page of its row."""
    text = "x" * 3_000

    assert _cell(text).rest
    assert not _cell(text, STRING, WHOLE).rest
