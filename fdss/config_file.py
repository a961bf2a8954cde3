"""The configuration file: YAML, keys as the flags, types checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdss import places
from fdss.config import absolute
from fdss.errors import SettingError
from fdss.settings import BY_KEY, Setting

_TYPE_NAMES = {str: "a string", int: "an integer", bool: "true or false", dict: "a mapping"}


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
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        if named is None:
            return ConfigFile()
        raise SettingError(f"Config file {named!r} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"Config file {str(path)!r} cannot be read: {error}.") from error
    values = _checked(_mapping(text, path), path)
    local = _local(values.pop("local", {}), path)
    return ConfigFile(path, named is None, values, local)


def _mapping(text: str, path: Path) -> dict[Any, Any]:
    # Here, so that commands which read no file do not wait for its import.
    import yaml

    try:
        body = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SettingError(f"Config file {str(path)!r} is not YAML: {error}") from error
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise SettingError(f"Config file {str(path)!r} must be a mapping of keys to values.")
    return body


def _checked(body: dict[Any, Any], path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for spelled, value in body.items():
        key = spelled.replace("-", "_") if isinstance(spelled, str) else spelled
        if key not in BY_KEY:
            raise SettingError(
                f"Unknown key {spelled!r} in config file {str(path)!r}.",
                hint=f"known keys are {', '.join(BY_KEY)}",
            )
        if key in values:
            raise SettingError(f"Key {key!r} stands twice in config file {str(path)!r}.")
        if value is not None:
            values[key] = _typed(BY_KEY[key], value, path)
    return values


def _typed(setting: Setting, value: Any, path: Path) -> Any:
    fits = isinstance(value, setting.kind) and isinstance(value, bool) == (setting.kind is bool)
    if not fits:
        raise SettingError(
            f"Key {setting.key!r} in config file {str(path)!r} must be "
            f"{_TYPE_NAMES[setting.kind]}, found {value!r}."
        )
    return value


def _local(mapping: dict[Any, Any], path: Path) -> dict[str, Path]:
    for name, place in mapping.items():
        if not isinstance(name, str) or not isinstance(place, str) or not place.strip():
            raise SettingError(
                f"Key 'local' in config file {str(path)!r} must map names to paths, "
                f"found {name!r}: {place!r}."
            )
    return {name: absolute(place.strip()) for name, place in mapping.items()}
