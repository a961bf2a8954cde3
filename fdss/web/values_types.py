"""Features as words for the head of a table, and what lies inside them."""

from __future__ import annotations

from typing import Any

from fdss.features import LIST_FEATURES

from .values_text import shortened

IMAGE, AUDIO = "Image", "Audio"
#: Features that are stored as an encoded file: its bytes, its path, or both.
FILES = {IMAGE: "image", AUDIO: "audio", "Video": "video", "Pdf": "pdf", "Nifti": "nifti"}
TRANSLATIONS = {"Translation": "translation", "TranslationVariableLanguages": "translations"}
MOST_WORDS = 60
MOST_LEVELS = 4


def kind_of(feature: Any) -> str:
    """Return the name of a feature's class; empty for a struct and for what is no feature."""
    if isinstance(feature, list):
        return "List"
    kind = feature.get("_type") if isinstance(feature, dict) else None
    return kind if isinstance(kind, str) else ""


def inner_feature(feature: Any) -> Any:
    """Return the feature of the entries of a list; None if it is no list."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    kind = kind_of(feature)
    if kind in LIST_FEATURES:
        return feature.get("feature")
    if kind.startswith("Array") and kind.endswith("D"):
        return {"_type": "Value", "dtype": feature.get("dtype")}
    return None


def field_feature(feature: Any, name: str) -> Any:
    """Return the feature of a field of a struct; None if it is not told."""
    kind = kind_of(feature)
    if not kind:
        return feature.get(name) if isinstance(feature, dict) else None
    inner = inner_feature(feature)
    if kind == "Sequence" and isinstance(inner, dict) and not kind_of(inner):
        # A Sequence of a dict is a dict of lists.
        return {"_type": "List", "feature": inner.get(name)}
    return None


def dtype_of(feature: Any) -> str:
    """Return the type of a plain value; empty for anything else."""
    dtype = feature.get("dtype") if kind_of(feature) == "Value" else None
    return dtype if isinstance(dtype, str) else ""


def type_words(feature: Any) -> str:
    """Return a feature in a few words, 60 characters at most: ``list of int32``."""
    return shortened(_words(feature, MOST_LEVELS), MOST_WORDS)


def label_name(feature: Any, number: Any) -> str | None:
    """Return the name of a label; None if it has none."""
    names = feature.get("names") if kind_of(feature) == "ClassLabel" else None
    if not isinstance(names, list) or type(number) is not int or not 0 <= number < len(names):
        return None
    return str(names[number])


def _words(feature: Any, levels: int) -> str:
    kind = kind_of(feature)
    if not isinstance(feature, dict | list) or not levels:
        return "…"
    if kind in LIST_FEATURES:
        inner = _words(inner_feature(feature), levels - 1)
        length = feature.get("length", -1) if isinstance(feature, dict) else -1
        is_fixed = type(length) is int and length >= 0
        return f"list of {length} {inner}" if is_fixed else f"list of {inner}"
    if isinstance(feature, list):
        return "…"
    if not kind:
        fields = list(feature)[:MOST_LEVELS]
        inside = ", ".join(f"{name}: {_words(feature[name], levels - 1)}" for name in fields)
        return f"{{{inside}{', …' if len(feature) > len(fields) else ''}}}"
    return _simple_words(kind, feature)


def _simple_words(kind: str, feature: dict[str, Any]) -> str:
    if kind == "Value":
        return str(feature.get("dtype", "value"))
    if kind == "ClassLabel":
        names = feature.get("names")
        return f"label, one of {len(names):,}" if isinstance(names, list) else "label"
    if kind in TRANSLATIONS:
        languages = feature.get("languages")
        told = ", ".join(map(str, languages)) if isinstance(languages, list) else ""
        return f"{TRANSLATIONS[kind]} {told}".rstrip()
    shape = feature.get("shape")
    if isinstance(shape, list):
        sizes = " × ".join("any" if size is None else str(size) for size in shape)
        return f"array {sizes} {feature.get('dtype', '')}".rstrip()
    return FILES.get(kind, kind.lower())
