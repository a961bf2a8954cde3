"""Which differences between servers of one name are found, and how they are reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fdss.arguments import LoadArguments
from fdss.router.conflicts import Alarm, conflicts
from fdss.router.knowledge import Server
from fdss.router.membership import Member
from fdss.router.offers import Offer

TRAIN = LoadArguments("local/s", split="train").handle


def _server(
    number: int, meta_hash: str = "same", fingerprints: Mapping[str, str] | None = None
) -> Server:
    told = {"meta_hash": meta_hash, "splits": [{"name": "train"}]}
    offer = Offer(local={"local/s": told}, fingerprints=fingerprints or {})
    return Server(Member(f"http://host-{number}.example:1"), is_healthy=True, offer=offer)


def test_same_content_is_no_conflict() -> None:
    """Servers that tell the same, or nothing yet, are at peace."""
    same = {TRAIN: "a" * 64}

    assert conflicts([_server(0, fingerprints=same), _server(1, fingerprints=same)]) == []
    assert conflicts([_server(0, fingerprints=same), _server(1)]) == []


def test_other_columns_or_counts_are_found_before_anything_is_loaded() -> None:
    """Descriptions that differ are a conflict though no fingerprint is known."""
    (found,) = conflicts([_server(0), _server(1, meta_hash="other"), _server(2)])

    assert (found.path, found.split) == ("local/s", "")
    assert [len(ids) for ids in found.contents.values()] == [2, 1]


def test_other_rows_are_found_once_they_are_loaded() -> None:
    """Fingerprints that differ are a conflict of that split; also of a server that is down."""
    down = replace(_server(1, fingerprints={TRAIN: "b" * 64}), is_healthy=False)

    (found,) = conflicts([_server(0, fingerprints={TRAIN: "a" * 64}), down])

    assert (found.path, found.split) == ("local/s", "train")
    assert found.as_json()["contents"] == {
        "a" * 64: [_server(0).server_id],
        "b" * 64: [_server(1).server_id],
    }


def test_conflict_is_reported_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    """An error when it begins, nothing while it lasts, a warning when it is over."""
    alarm = Alarm()
    differing = [_server(0), _server(1, meta_hash="other")]

    with caplog.at_level(logging.INFO):
        for _ in range(3):
            alarm.look(differing)
        alarm.look([_server(0), _server(1)])

    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "CONFLICT: local/s has 2 different contents" in caplog.text
    assert "is over" in caplog.text
