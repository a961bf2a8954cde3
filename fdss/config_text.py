"""The YAML of a configuration file: plain values only, of bounded size and depth.

Nothing but text, integers, true, false, null, lists and mappings can be made of it; no tag makes
an object, and no alias repeats a part, which is how a small file becomes a huge one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from fdss.errors import SettingError

MAX_DEPTH = 8
MAX_INTEGER = 20
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "bool", "null")}
_MAPPING_TAG = "tag:yaml.org,2002:map"
_LIST_TAG = "tag:yaml.org,2002:seq"


@dataclass(frozen=True)
class Value:
    """A value of a mapping, and the line that its key stands in, 1 or more."""

    content: Any
    line: int


class _Loader(yaml.SafeLoader):
    """The safe loader, without dates and fractions: a token such as 1e5 stays a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in known if tag in _PLAIN_TAGS]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse_mapping(text: str) -> dict[str, Value]:
    """Return what a text says: a mapping of texts to values, empty if it says nothing.

    Raises:
        SettingError: It is no YAML, no mapping, too deep, or has a key twice, an alias or a
            value of another kind; the message names the line.
    """
    loader = _Loader(_checked_characters(text))
    try:
        _check_aliases_and_depth(text)
        node = loader.get_single_node()
        if node is None or node.tag == "tag:yaml.org,2002:null":
            return {}
        if node.tag != _MAPPING_TAG or not isinstance(node, yaml.MappingNode):
            raise SettingError(f"Line {_line(node)} must be a mapping of keys to values.")
        _check(node)
        return {
            loader.construct_object(key): Value(
                loader.construct_object(value, deep=True),
                _line(key),
            )
            for key, value in node.value
        }
    except SettingError:
        raise
    except yaml.YAMLError as error:
        raise SettingError(_told(error)) from error
    except (ValueError, KeyError) as error:
        raise SettingError("A value is not what its tag says.") from error
    finally:
        loader.dispose()


def _checked_characters(text: str) -> str:
    try:
        yaml.reader.Reader(text)
    except yaml.YAMLError as error:
        raise SettingError(_told(error)) from error
    return text


def _check_aliases_and_depth(text: str) -> None:
    # Before nodes are made of it: those of a deep text take a deep stack.
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            raise SettingError(f"Line {_line(event)} has an alias, *{str(event.anchor)[:80]}.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise SettingError(f"Line {_line(event)} is nested more than {MAX_DEPTH} deep.")


def _check(node: yaml.Node, where: str = "") -> None:
    """Refuse tags, keys that are no texts, and keys that stand twice in a mapping."""
    if isinstance(node, yaml.MappingNode):
        _check_tag(node, {_MAPPING_TAG})
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise SettingError(
                    f"Line {_line(key)} has a key{where} that is no text: {_shown(key)}."
                )
            if key.value in lines:
                raise SettingError(
                    f"Key {key.value!r} stands twice, in lines {lines[key.value]} and {_line(key)}."
                )
            lines[key.value] = _line(key)
            _check(value, f" in {_shown(key)}")
    elif isinstance(node, yaml.SequenceNode):
        _check_tag(node, {_LIST_TAG})
        for value in node.value:
            _check(value, where)
    else:
        _check_tag(node, _PLAIN_TAGS)
        if node.tag.endswith(":int") and len(node.value) > MAX_INTEGER:
            raise SettingError(f"Line {_line(node)} has a number of {len(node.value):,} digits.")


def _check_tag(node: yaml.Node, allowed: set[str]) -> None:
    if node.tag not in allowed:
        raise SettingError(f"Line {_line(node)} has a tag that is not used here: {node.tag[:80]}.")


def _shown(key: yaml.Node) -> str:
    return repr(key.value)[:80] if isinstance(key, yaml.ScalarNode) else "a collection"


def _line(at: Any) -> int:
    return int(at.start_mark.line) + 1


def _told(error: yaml.YAMLError) -> str:
    """Return what is wrong, in one line, without a piece of the file: it may hold a token."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is no YAML"
    return f"Line {mark.line + 1} is no YAML: {problem}." if mark else f"It is no YAML: {problem}."
