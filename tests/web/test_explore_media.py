"""Bytes of strangers: what they are taken for, and how they are sent."""

from __future__ import annotations

import pytest
from explored import FORMATS, drawn
from flask import Flask, Response
from hypothesis import given, strategies as st
from samples import sound

from fdss.web.media import AUDIO_TYPES, IMAGE_TYPES, INERT_HEADERS, sent, sniffed

FLAC = b"fLaC\x00\x00\x00\x22" + b"\0" * 34
OGG = b"OggS\x00\x02" + b"\0" * 30
MP3 = b"\xff\xfb\x90\x64" + b"\0" * 400


@pytest.mark.parametrize("file_format", FORMATS)
def test_images_are_known_by_their_first_bytes(file_format: str) -> None:
    """An image is what its first bytes say."""
    assert sniffed(drawn(1, file_format)) == f"image/{file_format.lower()}"


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (sound(), "audio/wav"),
        (FLAC, "audio/flac"),
        (OGG, "audio/ogg"),
        (MP3, "audio/mpeg"),
        (b"ID3\x04" + MP3, "audio/mpeg"),
    ],
    ids=["wav", "flac", "ogg", "mp3", "mp3 with a tag"],
)
def test_sounds_are_known_by_their_first_bytes(content: bytes, media_type: str) -> None:
    """A sound is what its first bytes say."""
    assert sniffed(content) == media_type


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?><svg/>",
        b"<!DOCTYPE html><script>alert(1)</script>",
        b"%PDF-1.7",
        b"II*\x00",
        b"BM looks like a bitmap, and is a text",
        b"RIFF\x00\x00\x00\x00AVI ",
        b"\xff\xff\xff\xff",
        b"GIF89",
    ],
)
def test_everything_else_is_nothing_to_show(content: bytes) -> None:
    """Drawings with scripts, pages, documents and texts are not shown."""
    assert sniffed(content) is None


@given(st.binary(max_size=64))
def test_only_listed_types_are_found(content: bytes) -> None:
    """Whatever bytes are, their type is one of the list or none."""
    assert sniffed(content) in {None, *IMAGE_TYPES, *AUDIO_TYPES}


def _sent(content: bytes, media_type: str, *, is_shown: bool, byte_range: str = "") -> Response:
    headers = {"Range": byte_range} if byte_range else {}
    with Flask("test").test_request_context(headers=headers):
        return sent(content, media_type, is_shown=is_shown)


def test_bytes_are_sent_so_that_nothing_runs() -> None:
    """Bytes come with the type that was found, in a sandbox, under a name of ours."""
    answer = _sent(b"GIF89a...", "image/gif", is_shown=True)

    assert answer.headers["Content-Type"] == "image/gif"
    assert answer.headers["Content-Disposition"] == 'inline; filename="cell.gif"'
    assert dict(INERT_HEADERS).items() <= dict(answer.headers).items()
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_not_shown_is_stored() -> None:
    """Bytes that no browser shows are an attachment; text has its encoding."""
    stored = _sent(b"\x00", "application/octet-stream", is_shown=False)
    text = _sent(b"<b>", "text/plain", is_shown=True)

    assert stored.headers["Content-Disposition"] == 'attachment; filename="cell.bin"'
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("byte_range", "status", "body"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=20-", 416, b""),
        ("lines=1-2", 416, b""),
        ("", 200, b"0123456789"),
    ],
)
def test_parts_are_sent(byte_range: str, status: int, body: bytes) -> None:
    """A player gets the part that it asks for."""
    answer = _sent(b"0123456789", "audio/wav", is_shown=True, byte_range=byte_range)

    assert (answer.status_code, answer.get_data()) == (status, body)
    if status == 416:
        assert answer.headers["Content-Range"] == "bytes */10"
    else:
        assert answer.headers["Accept-Ranges"] == "bytes"
