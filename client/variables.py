"""Variables of the environment that turn something on."""

from __future__ import annotations

import os

from fdss.errors import SettingError


def is_on(variable: str) -> bool:
    """Return whether a variable is 1; unset and 0 are off.

    Raises:
        SettingError: It is neither 0 nor 1.
    """
    given = os.environ.get(variable, "").strip()
    if given not in ("", "0", "1"):
        raise SettingError(f"{variable} is {given[:40]!r}, neither 0 nor 1.")
    return given == "1"
