"""Metrics as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import requests
from clusters import eventually
from prometheus_client.parser import text_string_to_metric_families

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: A sum that is expected, the name of its numbers, and labels that they have.
Expected = tuple[float, str, dict[str, str]]


@dataclass(frozen=True)
class Scrape:
    """What ``GET /metrics`` has answered.

    Attributes:
        text: As it came.
        kinds: The kind of each metric that it tells, by name.
        samples: Every number, by name and labels.
    """

    text: str
    kinds: dict[str, str] = field(init=False, default_factory=dict)
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = field(
        init=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        for family in text_string_to_metric_families(self.text):
            is_counter = family.type == "counter"
            name = f"{family.name}_total" if is_counter else family.name
            assert name not in self.kinds
            self.kinds[name] = family.type
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples
                self.samples[key] = sample.value

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of all numbers of a name that have some labels; 0 if there are none."""
        wanted = set(labels.items())
        return sum(
            value
            for (found, its_labels), value in self.samples.items()
            if found == name and wanted <= its_labels
        )

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values that a label has in the numbers of a name."""
        return {
            dict(its_labels)[label]
            for (found, its_labels) in self.samples
            if found == name and label in dict(its_labels)
        }


def scraped(url: str, token: str | None = None, verify: str | bool = True) -> Scrape:
    """Return what a server or a router tells now."""
    answer = requests.get(
        f"{url}/metrics",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=60,
        verify=verify,
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == METRICS_TYPE
    return Scrape(answer.text)


def settled(scrape: Callable[[], Scrape], *expected: Expected) -> Scrape:
    """Return the first scrape that tells all sums; fail with those of the last one.

    A request is counted by the thread that answers it, after its client has the last byte, and
    each of its numbers for itself.
    """
    last = scrape()

    def told() -> list[Expected]:
        return [(last.sum(name, **labels), name, labels) for _, name, labels in expected]

    def is_told() -> bool:
        nonlocal last
        last = scrape()
        return told() == [*expected]

    with suppress(AssertionError):
        eventually(is_told)
    assert told() == [*expected]
    return last
