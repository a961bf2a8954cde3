"""Server paths taken out of what is sent to a client."""

from __future__ import annotations

import re
from pathlib import Path

from fdss import places
from fdss.config import ServerConfig


class Scrubber:
    """Replaces the places a server reads from by words that tell nothing about its disks.

    Named locals become ``local/<name>``, caches their purpose, the home folder ``~``.
    """

    def __init__(self, config: ServerConfig) -> None:
        words: dict[str, str] = {}
        for path, word in _places(config):
            # Messages show a path as Python writes it, in which a backslash stands twice.
            shown = {repr(str(place))[1:-1] for place in (path, path.resolve())}
            for spelling in {str(path), path.as_posix(), str(path.resolve()), *shown}:
                words.setdefault(spelling, word)
        words.pop("/", None)
        self._words = words
        longest_first = sorted(words, key=len, reverse=True)
        # Whole names only: /data is not in /data2.
        self._paths = re.compile(rf"({'|'.join(map(re.escape, longest_first))})(?![\w.-])")

    def scrubbed(self, text: str, asked: str = "") -> str:
        """Return a text without those paths.

        Args:
            asked: What the client sent. A path of its own comes back as it came: replaced, it
                would tell that the guess was right.
        """
        return self._paths.sub(
            lambda found: found[1] if found[1] in asked else self._words[found[1]], text
        )


def _places(config: ServerConfig) -> list[tuple[Path, str]]:
    named = [(path, f"local/{name}") for name, path in sorted(config.local.items())]
    return [
        *named,
        (places.datasets_cache(), "<datasets cache>"),
        (places.hub_cache(), "<hub cache>"),
        (places.index_folder(), "<index folder>"),
        (places.config_folder(), "<config folder>"),
        (Path("~").expanduser(), "~"),
    ]
