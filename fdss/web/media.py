"""Images and sounds from their own bytes: what they are, and how they are sent."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

#: What a browser may be given to show: by the first bytes, never by what anybody claims.
IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")
AUDIO_TYPES = ("audio/wav", "audio/flac", "audio/mpeg", "audio/ogg")
#: No answer with the bytes of a stranger may run, embed or fetch anything.
INERT_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_EXTENSIONS = {
    "image/jpeg": "jpg",
    "audio/mpeg": "mp3",
    "application/octet-stream": "bin",
    "text/plain": "txt",
}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def sniffed(content: bytes | bytearray) -> str | None:
    """Return the media type that the first bytes stand for; None if it is none of ours."""
    head = bytes(content[:32])
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    return "audio/mpeg" if _is_mpeg_frame(head) else None


def sent(content: bytes, media_type: str, *, is_shown: bool) -> Response:
    """Return bytes of a stranger as an answer that no browser takes for a page of ours.

    A part of them is sent where the request asks for one: players seek by it.

    Args:
        is_shown: Whether a browser may show it, or shall store it.
    """
    extension = _EXTENSIONS.get(media_type, media_type.rpartition("/")[2])
    disposition = "inline" if is_shown else "attachment"
    text_types = ("text/plain", "application/json")
    response = Response(content, content_type=media_type)
    if media_type in text_types:
        response.headers["Content-Type"] = f"{media_type}; charset=utf-8"
    response.headers["Content-Disposition"] = f'{disposition}; filename="cell.{extension}"'
    response.headers.update(INERT_HEADERS)
    try:
        response.make_conditional(request, accept_ranges=True, complete_length=len(content))
    except RequestedRangeNotSatisfiable:
        headers = {**INERT_HEADERS, "Content-Range": f"bytes */{len(content)}"}
        return Response(status=416, headers=headers, content_type=media_type)
    return response


def _is_mpeg_frame(head: bytes) -> bool:
    """Tell whether an MPEG audio frame of layer III begins here; ISO 11172-3, section 2.4.2.3."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return False
    version, bit_rate, sample_rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and bit_rate not in (0, 15) and sample_rate != 3
