"""How rows travel, as the environment says it."""

from __future__ import annotations

import pytest

from fdss.client.pages import COMPRESSION_VARIABLE, READ_AHEAD_VARIABLE, Transfer
from fdss.errors import SettingError


def test_without_variables_it_is_chosen() -> None:
    """Compression is left to the link, and 24 MiB are read ahead."""
    assert (Transfer().compression, Transfer().read_ahead_bytes) == ("auto", 24 << 20)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("none", None), ("zstd", "zstd"), (" LZ4 ", "lz4"), ("auto", "auto"), ("", "auto")],
)
def test_the_environment_chooses_compression(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: str | None
) -> None:
    """What a program gives itself wins over the variable."""
    monkeypatch.setenv(COMPRESSION_VARIABLE, given)

    assert Transfer().compression == expected
    assert Transfer(compression="lz4").compression == "lz4"


def test_the_environment_chooses_the_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a number of bytes."""
    monkeypatch.setenv(READ_AHEAD_VARIABLE, "4096")

    assert Transfer().read_ahead_bytes == 4096
    assert Transfer(read_ahead_bytes=7).read_ahead_bytes == 7


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        (COMPRESSION_VARIABLE, "gzip"),
        (READ_AHEAD_VARIABLE, "0"),
        (READ_AHEAD_VARIABLE, "-1"),
        (READ_AHEAD_VARIABLE, "24MiB"),
        (READ_AHEAD_VARIABLE, "9" * 400),
    ],
)
def test_a_variable_that_means_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, given: str
) -> None:
    """The error names the variable, and its hint what it takes."""
    monkeypatch.setenv(variable, given)

    with pytest.raises(SettingError, match=variable) as caught:
        Transfer()
    assert "set it to" in caught.value.hint
