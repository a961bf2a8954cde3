"""Requests made from the API's own description, and what is wrong with their answers.

The tests send a few thousand. More go to a server that this starts for itself::

    python -m tests.fuzzing 100000
"""

from __future__ import annotations

import argparse
import copy
import itertools
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from requests.exceptions import InvalidHeader, InvalidURL
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from fdss import openapi
from fdss.arguments import LoadArguments
from fdss.config import ServerConfig
from fdss.serving import Server
from fdss.wire.names import ARROW

Json = dict[str, Any]

CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
#: Longer than any of these requests takes; one that takes longer hangs.
TIMEOUT_S = 60
#: Requests made by one run of hypothesis, which remembers what it has made.
RUN = 100
#: One request in so many has the token that was made up for it, or none.
STRANGER_EVERY = 7
ARROW_EVERY = 3
TOKEN = "the-token-that-no-answer-may-tell"
ROWS = 300


@dataclass(frozen=True)
class Target:
    """A server or a router, and what it must not tell.

    Attributes:
        description: Of its API, in which what is there is as likely as what is not.
        secrets: Texts that no answer may contain.
        told: Texts that only the operations of some labels may tell, by text.
    """

    url: str
    description: Json
    secrets: list[str]
    told: dict[str, set[str]] = field(default_factory=dict)


@dataclass
class Found:
    """What became of many requests.

    Attributes:
        sent: How many there were.
        statuses: How many answers had each status.
        longest_s: What the slowest answer took.
        wrong: What was wrong, the first of each kind.
    """

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    longest_s: float = 0.0
    wrong: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return it for people."""
        told = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        return [
            f"{self.sent} requests; {told}; the slowest took {self.longest_s:.2f} s",
            *(f"WRONG {kind}: {what}" for kind, what in self.wrong.items()),
        ]


def attack(
    target: Target,
    count: int,
    *,
    seed_: int = 0,
    run_: int = RUN,
    tell: Callable[[Found], None] | None = None,
) -> Found:
    """Send requests to every endpoint in turn, valid and invalid ones alike.

    Args:
        count: Requests, at least.
        seed_: Names the requests.
        run_: Requests to one endpoint before the next has its turn.
        tell: Called now and then with what was found so far.
    """
    found = Found()
    schema = schemathesis.openapi.from_dict(target.description)
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    with requests.Session() as session:
        session.trust_env = False
        for run in itertools.count(seed_):
            for operation, mode in itertools.product(operations, schemathesis.GenerationMode):
                # Where nothing is taken nothing can be invalid.
                with suppress(Unsatisfiable):
                    strategy = operation.as_strategy(generation_mode=mode)
                    _send(strategy, (run, run_), target, session, found)
                if found.sent >= count:
                    return found
            if tell is not None:
                tell(found)
    raise AssertionError("the runs have no end")


@contextmanager
def serving(folder: Path, token: str = TOKEN) -> Iterator[Target]:
    """Serve two small datasets from a folder."""
    from datasets import Dataset

    local = {name: folder / f"{name} on disk" for name in ("rows", "wide")}
    Dataset.from_dict(
        {"number": range(ROWS), "text": [f"row {n}" for n in range(ROWS)]}
    ).save_to_disk(str(local["rows"]))
    wide = pa.table({f"column, {n}": list(range(5)) for n in range(30)})
    Dataset(wide).save_to_disk(str(local["wide"]))
    config = ServerConfig(port=0, auth_token=token, local=local)
    with Server(config) as server:
        for name in local:
            server.catalog.load(LoadArguments(f"local/{name}"))
        yield Target(
            server.url,
            _with_what_is_there(sorted(local)),
            [str(folder), folder.name, token, str(Path(openapi.__file__).parent)],
        )


def _send(
    strategy: Any, run: tuple[int, int], target: Target, session: requests.Session, found: Found
) -> None:
    name, examples = run

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seed(name)
    @given(case=strategy)
    def ask(case: Any) -> None:
        headers = {} if found.sent % ARROW_EVERY else {"Accept": ARROW}
        auth = _with_token if found.sent % STRANGER_EVERY else None
        _ask(case, partial(case.call, target.url, session, headers, auth=auth), target, found)

    ask()


def _with_token(request: requests.PreparedRequest) -> requests.PreparedRequest:
    request.headers["Authorization"] = f"Bearer {TOKEN}"
    return request


def _ask(case: Any, call: Callable[..., Any], target: Target, found: Found) -> None:
    begun_s = time.monotonic()
    try:
        answer = call(timeout=TIMEOUT_S)
    except (InvalidHeader, InvalidURL):
        # Nothing that an HTTP client sends.
        return
    except requests.RequestException as error:
        found.sent += 1
        _note(found, "no answer", case, str(error))
        return
    found.sent += 1
    found.longest_s = max(found.longest_s, time.monotonic() - begun_s)
    found.statuses[answer.status_code] += 1
    # A router answers 502 for a server that fails.
    if answer.status_code >= 500 and answer.status_code not in (502, 503):
        _note(found, f"status {answer.status_code}", case, answer.text[:300])
    also = [text for text, labels in target.told.items() if case.operation.label not in labels]
    for secret in (*target.secrets, *also):
        if secret.encode() in answer.content:
            _note(found, "a secret", case, answer.text[:300])
    try:
        case.validate_response(answer, checks=CHECKS)
    except AssertionError as error:
        _note(found, f"not as described, {answer.status_code}", case, str(error)[:600])


def _note(found: Found, kind: str, case: Any, what: str) -> None:
    found.wrong.setdefault(f"{case.operation.label} {kind}", f"{what} <- {case.as_curl_command()}")


def _with_what_is_there(names: list[str]) -> Json:
    """Return the description, in which what is served is as likely as what is not."""
    description = copy.deepcopy(openapi.description())
    handles = [LoadArguments(f"local/{name}").handle for name in names]
    for path in description["paths"].values():
        for parameter in path.get("get", {}).get("parameters", ()):
            if parameter["name"] == "handle":
                parameter["schema"] = {"enum": handles}
            if parameter["name"] == "columns":
                known = ["number", "text", "column%2C 1"]
                parameter["schema"]["items"] = or_one_of(known, parameter["schema"]["items"])
    fields = description["components"]["schemas"]["Load"]["properties"]
    fields["path"] = or_one_of([f"local/{name}" for name in names], fields["path"])
    fields["split"] = or_one_of(["train", "train[10:20]", "train[:10%]"], fields["split"])
    return description


def or_one_of(values: list[str], schema: Json) -> Json:
    """Return the schema of these values, and of what another schema allows."""
    return {"anyOf": [{"enum": values}, schema]}


def main() -> None:
    """Send the number of requests that the command line says; fail if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    given_ = parser.parse_args()
    print(f"seed {given_.seed}", flush=True)
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="fdss-fuzzing-") as folder:
        os.environ["HOME"] = os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = folder
        with serving(Path(folder)) as target:
            begun_s = time.monotonic()
            found = attack(target, given_.count, seed_=given_.seed, tell=_tell)
    _tell(found)
    print(f"{found.sent / (time.monotonic() - begun_s):.0f} requests a second")
    raise SystemExit(bool(found.wrong))


def _tell(found: Found) -> None:
    print(*found.lines(), sep="\n", flush=True)


if __name__ == "__main__":
    main()
