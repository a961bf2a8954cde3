"""The names of the formats."""

from __future__ import annotations

from collections.abc import Mapping

from fdss.errors import BadParameter

from .formats import PYTHON, Format
from .formats_tables import TableFormat
from .formats_tensors import TensorFormat

_NAMES: Mapping[str | None, str] = {
    None: "python",
    "python": "python",
    "np": "numpy",
    "numpy": "numpy",
    "pt": "torch",
    "pytorch": "torch",
    "torch": "torch",
    "pa": "arrow",
    "pyarrow": "arrow",
    "arrow": "arrow",
    "pd": "pandas",
    "pandas": "pandas",
}


def format_named(name: str | None) -> Format:
    """Return a format by its name or by one that ``datasets`` has for it too.

    Raises:
        BadParameter: There is none of that name.
    """
    if name not in _NAMES:
        raise BadParameter(
            f"with_format({name!r}): there is no such format.",
            hint=f"one of {', '.join(dict.fromkeys(_NAMES.values()))}",
        )
    known = _NAMES[name]
    if known == "python":
        return PYTHON
    return (TableFormat if known in ("arrow", "pandas") else TensorFormat)(known)
