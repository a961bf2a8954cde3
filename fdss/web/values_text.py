"""Text of strangers made visible: what has no glyph, or moves others, becomes an escape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Control characters but tab and line feed; format characters but the joiners that emoji and
# several scripts need and the number signs that have a glyph; separators of lines; surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]+"
)

#: Characters of markup around an escape.
MARKUP = 40


@dataclass(frozen=True)
class Piece:
    """Consecutive characters that are shown alike.

    Attributes:
        text: What is shown.
        is_escape: Whether it stands for characters that cannot be shown.
    """

    text: str
    is_escape: bool = False


def pieces(text: str) -> list[Piece]:
    """Return a text as it is shown: harmless characters, and escapes as Python writes them."""
    return list(_pieces(text))


def visible(text: str) -> str:
    """Return a text with escapes in the place of what cannot be shown."""
    return _UNSEEN.sub(lambda match: _escaped(match[0]), text)


def shortened(text: str, characters: int) -> str:
    """Return the begin of a text, visible and on one line, for a label or a title."""
    kept = visible(text[:characters]).replace("\n", "\\n").replace("\t", "\\t")
    return kept if len(text) <= characters else f"{kept}…"


def cost(text: str) -> int:
    """Return about how many characters of a page a text takes: escapes have markup around them."""
    return len(text) + MARKUP * sum(1 for _ in _UNSEEN.finditer(text))


def _pieces(text: str) -> Iterator[Piece]:
    at = 0
    for match in _UNSEEN.finditer(text):
        if match.start() > at:
            yield Piece(text[at : match.start()])
        yield Piece(_escaped(match[0]), is_escape=True)
        at = match.end()
    if at < len(text):
        yield Piece(text[at:])


def _escaped(text: str) -> str:
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    if character == "\r":
        return "\\r"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
