"""Sizes, counts, tables and text that cannot steer a terminal."""

from __future__ import annotations

import io
import json
import sys

import pytest

from fdss.cli.output import count, print_json, print_lines, printable, size, table


@pytest.mark.parametrize(
    ("count_bytes", "expected"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1023, "1023 B"),
        (1024, "1.0 KB"),
        (1536, "1.5 KB"),
        (5 * 1024**2, "5.0 MB"),
        (3 * 1024**3, "3.0 GB"),
        (int(1.4 * 1024**4), "1.4 TB"),
        (2048 * 1024**5, "2048.0 PB"),
    ],
)
def test_sizes_are_in_units_of_1024(count_bytes: int | None, expected: str) -> None:
    """A size has one decimal and the largest unit of 1024 that it fills."""
    assert size(count_bytes) == expected


def test_counts_have_their_thousands_separated() -> None:
    """Numbers of rows are grouped by thousands, and an unknown one is a question mark."""
    assert (count(364868892), count(0), count(None)) == ("364,868,892", "0", "?")


def test_tables_align_their_columns() -> None:
    """Columns are as wide as their widest cell, and the named one is right-aligned."""
    lines = list(table(("NAME", "SIZE"), [("a", "1,000"), ("longer", "1")], right="SIZE"))

    assert lines == ["NAME     SIZE", "a       1,000", "longer      1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ünïcode 😀", "plain ünïcode 😀"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("bell\a, back\b, return\r, line\n", "bell\\x07, back\\x08, return\\r, line\\n"),
        ("C1 \x9b31m", "C1 \\x9b31m"),
        ("turned \u202egnp.exe", "turned \\u202egnp.exe"),
        ("lone \ud800", "lone \\ud800"),
        ("line \u2028 separator", "line \\u2028 separator"),
    ],
)
def test_text_cannot_steer_the_terminal(text: str, expected: str) -> None:
    """Control characters, turned directions and halves of pairs are printed as escapes."""
    assert printable(text) == expected


def test_characters_that_the_terminal_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of another encoding gets escapes, not an error."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))

    print_lines(["grün 😀"])
    sys.stdout.flush()

    assert written.getvalue().rstrip() == "grün \\U0001f600".encode("cp1252")


def test_json_is_one_document_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON is indented by two, its keys sorted, and readable in every encoding."""
    print_json({"b": "ü", "a": [1]})
    printed = capsys.readouterr().out

    assert printed == '{\n  "a": [\n    1\n  ],\n  "b": "\\u00fc"\n}\n'
    assert json.loads(printed) == {"b": "ü", "a": [1]}
