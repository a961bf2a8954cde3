"""What a server tells about a dataset, and whether it can be believed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from fdss.backend import FeaturesJson
from fdss.errors import PageForeign
from fdss.features import check_feature

from .limits import ClientLimits

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Description:
    """What a server tells about a handle.

    Attributes:
        length: Stored rows.
        fingerprint: None from a server from before FDSS.
        features: HF features as JSON; empty from such a server.
        column_names: In stored order.
        source: Where the server has it from: local, path or hf.
    """

    length: int
    fingerprint: str | None
    features: FeaturesJson
    column_names: list[str]
    source: str

    @classmethod
    def from_json(cls, body: dict[str, Any], url: str, limits: ClientLimits) -> Description:
        """Return the description in an answer of a load or of a handle.

        Raises:
            PageForeign: It is not one.
            AnswerTooLarge: It is of more rows or columns than the limits allow.
        """
        length, features = body.get("length"), body.get("features") or {}
        columns = body.get("column_names") or list(features)
        fingerprint = body.get("fingerprint")
        if not (
            type(length) is int
            and length >= 0
            and isinstance(features, dict)
            and _are_names(columns)
            and isinstance(fingerprint, str | None)
        ):
            raise PageForeign(
                f"The server at {url} describes a dataset without a usable length, columns,"
                f" features or fingerprint (length {str(length)[:40]}).",
            )
        told = f"The server at {url} tells of a dataset of"
        limits.check("length_rows", length, f"{told} {length:,} rows")
        limits.check("columns", len(columns), f"{told} {len(columns):,} columns")
        _check_features(features, columns, url, limits)
        if fingerprint is None:
            _log.warning(
                "The server at %s gives no fingerprint and no features: rows come as plain JSON"
                " (dates and decimals as text), and changed content is not noticed.",
                url,
            )
        return cls(length, fingerprint, features, columns, str(body.get("source", "")))


def _are_names(columns: Any) -> bool:
    return (
        isinstance(columns, list)
        and all(isinstance(name, str) for name in columns)
        and len(set(columns)) == len(columns)
    )


def _check_features(
    features: FeaturesJson, columns: list[str], url: str, limits: ClientLimits
) -> None:
    if features and list(features) != columns:
        raise PageForeign(f"The server at {url} tells of features of other columns than it names.")
    for name, feature in features.items():
        try:
            check_feature(feature, limits.type_depth)
        except ValueError as exc:
            raise PageForeign(
                f"The server at {url} tells of a column {name[:100]!r} without a usable feature:"
                f" {exc}."
            ) from exc
