"""Split notation means what it means to ``datasets``, which these tests ask."""

from __future__ import annotations

from itertools import product

import pytest
from datasets import ReadInstruction

from fdss.errors import BadSplit, SplitNotFound
from fdss.splits import SplitPart, parse_split, resolve_split

COUNTS = {"train": 1003, "test": 57, "all.of.it": 200, "empty": 0}

BOUNDARIES = ["", "0", "1", "5", "-1", "-7", "56", "57", "58", "5000", "-5000", "1_0"]
PERCENTAGES = ["", "0%", "1%", "5%", "33%", "50%", "99%", "100%", "-1%", "-33%", "-100%", "7"]

ACCEPTED = [
    "train",
    "train[:]",
    "all.of.it[3:]",
    "train+test",
    "train  +\ttest[3:5]",
    "train[:10%]+test[3:5]+train[-5:]",
    "train[:10%](pct1_dropremainder)",
    "train[:1]+train[:7%](pct1_dropremainder)+test[:7%]",
    "train[:7%](closest)+test[:9%]",
    "train[5:3]+test",
    "train[٣:]",
]

REFUSED = [
    "",
    "+",
    " train",
    "train ",
    "train+",
    "tr-ain",
    "train[5]",
    "train[]",
    "train[a:]",
    "train[_:]",
    "train[1__0:]",
    "train[ 1:2]",
    "train[1:2:3]",
    "train[0.5:]",
    "train[:101%]",
    "train[-101%:]",
    "train(closest)",
    "train[:5](closest)",
    "train[:5%]()",
    "train[:5%](nearest)",
    "train[:5%]+test[:5%](pct1_dropremainder)",
    "train[:5%](pct1_dropremainder)+test[:5%]",
    "train[:5%]+train[:1]+test[:5%](pct1_dropremainder)",
    "../etc",
]


def in_datasets(split: str) -> list[tuple[str, range]]:
    """Return the rows a split means to ``datasets``; parts without rows are left out."""
    found = ReadInstruction.from_spec(split).to_absolute(COUNTS)
    ranges = [(part.splitname, range(part.from_, part.to)) for part in found]
    return [(name, rows) for name, rows in ranges if len(rows)]


def slices() -> list[str]:
    """Return every slice of two splits that the boundaries make."""
    pairs = [*product(BOUNDARIES, BOUNDARIES), *product(PERCENTAGES, PERCENTAGES)]
    return [f"{name}[{begin}:{end}]" for name in ("train", "test") for begin, end in pairs]


@pytest.mark.parametrize("split", ACCEPTED)
def test_accepted(split: str) -> None:
    """Notation that datasets accepts gives the rows that datasets gives."""
    assert resolve_split(parse_split(split), COUNTS) == in_datasets(split)


def test_every_slice() -> None:
    """Boundaries of every kind become the same rows as in datasets; no rows are refused."""
    for split in slices():
        expected = in_datasets(split)
        if expected:
            assert resolve_split(parse_split(split), COUNTS) == expected
        else:
            with pytest.raises(BadSplit):
                resolve_split(parse_split(split), COUNTS)


def test_rounding() -> None:
    """Percentages are rounded as datasets rounds them, for every count up to 300."""
    for count, percent in product(range(1, 301), (1, 7, 25, 33, 50, 99)):
        [absolute] = ReadInstruction.from_spec(f"s[:{percent}%]").to_absolute({"s": count})
        [part] = parse_split(f"s[:{percent}%]")
        assert part.of(count) == range(absolute.from_, absolute.to)


@pytest.mark.parametrize("split", REFUSED)
def test_refused(split: str) -> None:
    """Notation that datasets refuses is refused, with a message that quotes it."""
    with pytest.raises(ValueError):
        ReadInstruction.from_spec(split)
    with pytest.raises(BadSplit) as refused:
        parse_split(split)
    assert repr(split) in refused.value.message


def test_few_rows_of_whole_percent() -> None:
    """Whole-percent rounding of less than 100 rows is refused, as in datasets."""
    split = "test[:50%](pct1_dropremainder)"
    with pytest.raises(ValueError):
        ReadInstruction.from_spec(split).to_absolute(COUNTS)
    with pytest.raises(BadSplit):
        resolve_split(parse_split(split), COUNTS)


def test_unknown_split() -> None:
    """A split that does not exist is named beside those that do."""
    with pytest.raises(SplitNotFound, match="'dev' does not exist; found: train, test"):
        resolve_split(parse_split("train+dev[:1]"), COUNTS)


def test_empty_split() -> None:
    """A whole split without rows is no rows, not a mistake; a slice of it is."""
    assert resolve_split(parse_split("empty"), COUNTS) == [("empty", range(0, 0))]
    with pytest.raises(BadSplit):
        resolve_split(parse_split("empty[:5]"), COUNTS)


def test_all() -> None:
    """``all`` adds every split up, unless one has that name."""
    assert resolve_split(parse_split("all"), {"a": 2, "b": 3}) == [
        ("a", range(2)),
        ("b", range(3)),
    ]
    assert resolve_split(parse_split("all"), {"a": 2, "all": 3}) == [("all", range(3))]


def test_parts() -> None:
    """Parts tell their split, and whether they are the whole of it."""
    assert parse_split("train[10%:]") == (SplitPart("train", 10, None, "closest"),)
    assert [part.is_whole for part in parse_split("a+b[:1]")] == [True, False]


@pytest.mark.parametrize("split", ["train[5:2]", "train[20:]+test[-1:-2]", "train[0%:1%](closest)"])
def test_no_rows_are_told_as_asked(split: str) -> None:
    """A split that selects no rows is told in the words of whoever asked."""
    with pytest.raises(BadSplit) as refused:
        resolve_split(parse_split(split), {"train": 10, "test": 5})
    assert repr(split) in refused.value.message
    assert "'train' has 10" in refused.value.message
