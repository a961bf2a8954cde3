"""The configuration file: YAML, keys as the flags, types checked."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdss import places
from fdss.config import absolute
from fdss.errors import SettingError
from fdss.files import is_foreign
from fdss.settings import BY_KEY, Setting

if TYPE_CHECKING:
    from fdss.config_text import Value

MAX_BYTES = 1 << 20
#: The router's settings, which it checks itself (``fdss.router.config``).
ROUTER_SECTION = "router"
_ANYBODY_WRITES = 0o002
_TYPE_NAMES = {
    str: "a string",
    int: "an integer",
    bool: "true or false",
    dict: "a mapping",
    tuple: "a list of strings",
}


@dataclass(frozen=True)
class ConfigFile:
    """What a configuration file says.

    Attributes:
        path: The file; None when there is none.
        is_default: Whether it was read without having been named.
        values: Value of each key but ``local``.
        local: Path of each named local dataset.
    """

    path: Path | None = None
    is_default: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    local: dict[str, Path] = field(default_factory=dict)

    @property
    def log_line(self) -> str:
        """Return the line that tells which file was used."""
        if self.path is None:
            return "no config file (CLI flags + built-in defaults only)"
        return f"loaded {'default ' if self.is_default else ''}config: {self.path}"


def read_config_file(named: str | None) -> ConfigFile:
    """Return what the named file says, or the default file when none is named.

    Raises:
        SettingError: The named file is missing, or a file is not what it should be.
    """
    path = absolute(named) if named else places.default_config_file()
    try:
        text = _text(path, is_named=named is not None)
    except FileNotFoundError as error:
        if named is None:
            return ConfigFile()
        raise SettingError(f"Config file {named!r} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"Config file {str(path)!r} cannot be read: {error}.") from error
    values, local = _values(text, path)
    return ConfigFile(path, named is None, values, local)


def _text(path: Path, *, is_named: bool) -> str:
    # What is named may be a pipe; nobody waits for one that nobody named.
    if not is_named and path.exists() and not path.is_file():
        raise SettingError(f"Config file {str(path)!r} is no regular file.")
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise SettingError(f"Config file {str(path)!r} has more than {MAX_BYTES:,} bytes.")
    is_open = os.name == "posix" and bool(found.st_mode & _ANYBODY_WRITES)
    if stat.S_ISREG(found.st_mode) and (is_open or is_foreign(found)):
        raise SettingError(
            f"Config file {str(path)!r} can be changed by other users.",
            hint=f"make it yours, and chmod o-w {path}",
        )
    return data.decode("utf-8")


def _values(text: str, path: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    # Here, so that commands which read no file do not wait for its import.
    from fdss.config_text import parse_mapping

    try:
        values = _checked(parse_mapping(text))
        return values, _local(values.pop("local", {}))
    except SettingError as error:
        message = f"Config file {str(path)!r}: {error.message}"
        raise SettingError(message, hint=error.hint) from error


def _checked(body: dict[str, Value]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for spelled, value in body.items():
        key = spelled.replace("-", "_")
        if key == ROUTER_SECTION:
            continue
        if key not in BY_KEY:
            raise SettingError(
                f"Unknown key {spelled[:80]!r} in line {value.line}.",
                hint=f"known keys are {', '.join(BY_KEY)}",
            )
        if key in values:
            raise SettingError(f"Key {key!r} stands twice, a second time in line {value.line}.")
        if value.content is not None:
            values[key] = _typed(BY_KEY[key], value)
    return values


def _typed(setting: Setting, value: Value) -> Any:
    found = _texts(value.content) if setting.kind is tuple else value.content
    fits = isinstance(found, setting.kind) and isinstance(found, bool) == (setting.kind is bool)
    if not fits:
        shown = "something else" if setting.key == "auth_token" else repr(found)[:80]
        raise SettingError(
            f"Key {setting.key!r} in line {value.line} must be "
            f"{_TYPE_NAMES[setting.kind]}, found {shown}."
        )
    return found


def _texts(content: Any) -> Any:
    """Return a list of texts, or a single one, as a tuple; anything else as it is."""
    found = [content] if isinstance(content, str) else content
    are_texts = isinstance(found, list) and all(isinstance(text, str) for text in found)
    return tuple(found) if are_texts else content


def _local(mapping: dict[str, Any]) -> dict[str, Path]:
    for name, place in mapping.items():
        if not isinstance(place, str) or not place.strip():
            raise SettingError(
                f"Key 'local' must map names to paths, found {name[:80]!r}: {repr(place)[:80]}."
            )
    return {name: absolute(place.strip()) for name, place in mapping.items()}
