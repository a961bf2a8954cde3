"""What names a dataset: the arguments of a load, and the handle made from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from fdss.errors import BadParameter

DEFAULT_SPLIT = "train"
DataFiles = str | list[str] | dict[str, str | list[str]]


@dataclass(frozen=True)
class LoadArguments:
    """The client-visible arguments of one dataset.

    Attributes:
        path: Hub id, ``local/<name>`` or an absolute path.
        name: Configuration of the dataset.
        split: Split in the notation of ``datasets`` (``train[10%:20%]``).
        data_files: Patterns, or patterns by split.
        revision: Branch, tag or commit.
    """

    path: str
    name: str | None = None
    split: str = DEFAULT_SPLIT
    data_files: DataFiles | None = None
    revision: str | None = None

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> LoadArguments:
        """Return the arguments in the body of a load request; other fields are ignored.

        Raises:
            BadParameter: ``path`` is missing, or a field has the wrong type.
        """
        path = _string(body, "path")
        if not path:
            raise BadParameter(
                "Missing required field 'path'.", hint='send {"path": "local/<name>"} or a Hub id'
            )
        return cls(
            path=path,
            name=_string(body, "name") or None,
            split=_string(body, "split") or DEFAULT_SPLIT,
            data_files=_data_files(body.get("data_files")),
            revision=_string(body, "revision") or None,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the canonical form: every argument that is not absent."""
        fields = {
            "path": self.path,
            "name": self.name,
            "split": self.split,
            "data_files": self.data_files,
            "revision": self.revision,
        }
        return {field: value for field, value in fields.items() if value is not None}

    @property
    def handle(self) -> str:
        """Return 16 hex digits that name these arguments, the same on every server."""
        canonical = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _string(body: dict[str, Any], field: str) -> str | None:
    value = body.get(field)
    if value is None or isinstance(value, str):
        return value
    raise BadParameter(f"Field {field!r} must be a string, found {type(value).__name__}.")


def _data_files(value: Any) -> DataFiles | None:
    if value is None or isinstance(value, str) or _is_strings(value):
        return value or None
    if isinstance(value, dict) and all(
        isinstance(split, str) and (isinstance(files, str) or _is_strings(files))
        for split, files in value.items()
    ):
        return value or None
    raise BadParameter(
        "Field 'data_files' must be a pattern, a list of patterns, or either of them by split."
    )


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
