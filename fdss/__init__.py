"""FDSS, the Forgather Dataset Server: the server, and the words server and client share."""

from __future__ import annotations

from pathlib import Path

__version__ = "1.0.0"

# A wheel holds fdss/client and fdss/cli; a checkout holds them beside fdss/.
if not Path(__file__).with_name("client").is_dir():
    __path__.append(str(Path(__file__).parents[1]))
