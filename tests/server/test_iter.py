"""GET /v1/datasets/{handle}/iter: parameters, headers, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

ErrorCheck = Callable[[TestResponse, int, str], None]
ROWS = 100


def _numbers(response: TestResponse) -> list[int]:
    assert response.status_code == 200, response.get_json()
    return [json.loads(line)["number"] for line in response.data.splitlines()]


@pytest.fixture
def iterate(client: FlaskClient, handle: str) -> Callable[..., TestResponse]:
    """Return a call of /iter with a query."""

    def call(query: str = "", **arguments: Any) -> TestResponse:
        return client.get(f"/v1/datasets/{handle}/iter?{query}", **arguments)

    return call


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", range(ROWS)),
        ("position=0", range(ROWS)),
        ("position=97", range(97, 100)),
        ("position=10&limit=3", range(10, 13)),
        ("limit=0", range(0)),
        ("position=100", range(0)),
        ("position=9223372036854775807", range(0)),
        ("limit=9223372036854775807", range(ROWS)),
        ("position=1&stride=40", range(1, 100, 40)),
        ("position=1&stride=40&limit=2", range(1, 42, 40)),
        ("stride=9223372036854775807", range(1)),
        ("run=2:50", [0, 1]),
        ("run=2:25", [0, 1, 50, 51]),
        ("run=2:25:1", [0, 49, 50, 99]),
        ("run=2:25:1&position=3&limit=2", [3, 52]),
        ("run=1:1&position=90", range(90, 100)),
        ("run=2:2&stride=10&position=5", [5, 15, 45, 55, 85, 95]),
        ("run=2:2&rows=0:100:20", [0, 20, 80]),
        ("run=4294967296:4294967296:4294967295", [0]),
        ("run=4294967296:4294967296:3", range(100)),
        ("run=3:4&limit=0", range(0)),
        ("run=3:4:2&position=100", range(0)),
        ("rows=90:95", range(90, 95)),
        ("rows=0:100:25", range(0, 100, 25)),
        ("rows=0:100:25&position=1&limit=2", range(25, 51, 25)),
        ("rows=5:5", range(0)),
        ("rows=100:100", range(0)),
        ("block=16", range(ROWS)),
    ],
)
def test_rows_are_those_asked_for(
    iterate: Callable[..., TestResponse], query: str, numbers: Sequence[int]
) -> None:
    """Position, limit, stride, run and rows select what they say, and the header counts it."""
    response = iterate(query)

    assert _numbers(response) == list(numbers)
    assert response.headers["FDSS-Rows"] == str(len(numbers))


def test_headers_say_what_the_body_carries(iterate: Callable[..., TestResponse]) -> None:
    """Rows, position, length, order, types and fingerprint stand in the response."""
    response = iterate("rows=0:50&position=7&limit=3&types=tagged")
    headers = response.headers

    assert headers["FDSS-Rows"] == "3"
    assert headers["FDSS-Position"] == "7"
    assert headers["FDSS-Length"] == "50"
    assert headers["FDSS-Order"] == "v1"
    assert headers["FDSS-Types"] == "tagged"
    assert headers["ETag"] == '"' + "f" * 64 + '"'
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["Content-Length"] == str(len(response.data))


def test_plain_types_are_the_default(iterate: Callable[..., TestResponse]) -> None:
    """A client that asks for nothing gets the dialect of the first version."""
    assert iterate("limit=1").headers["FDSS-Types"] == "plain"


@pytest.mark.parametrize(
    "query",
    [
        "position=-1",
        "position=x",
        "position=1.0",
        "position=",
        "position=+1",
        "position=%201",
        "position=1_0",
        "position=%D9%A1",
        "position=9223372036854775808",
        "position=" + "9" * 5000,
        "position=1&position=2",
        "limit=-1",
        "limit=9223372036854775808",
        "seed=-1",
        "seed=18446744073709551616",
        "seed=None",
        "block=0",
        "block=65537",
        "window=-1",
        "window=1048577",
        "stride=0",
        "stride=-1",
        "run=2",
        "run=2:",
        "run=0:2",
        "run=2:0",
        "run=2:3:2",
        "run=2:3:-1",
        "run=2:3:1:1",
        "run=4294967297:1",
        "run=1:4294967297",
        "run=99999999999999999999:1",
        "run=1:2&run=1:2",
        "rows=1",
        "rows=1:",
        "rows=:1",
        "rows=5:4",
        "rows=0:101",
        "rows=0:10:0",
        "rows=0:10:-1",
        "rows=-5:10",
        "rows=0:1:1:1",
        "types=other",
        "sed=7",
        "Position=1",
        "token=secret",
        "columns=number,number",
        "columns=number&columns=number",
    ],
)
def test_a_bad_parameter_is_refused(
    iterate: Callable[..., TestResponse], assert_error_shape: ErrorCheck, query: str
) -> None:
    """What is malformed, out of range, unknown or doubled is a 400, never a guess."""
    assert_error_shape(iterate(query), 400, "bad-parameter")


def test_an_unknown_parameter_is_answered_with_the_known_ones(
    iterate: Callable[..., TestResponse],
) -> None:
    """A typo such as ``sed=7`` would silently lose the seed; the answer lists the names."""
    assert "seed" in iterate("sed=7").get_json()["hint"]


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("columns=number", ["number"]),
        ("columns=number,text%252C%20or%20so", ["number", "text, or so"]),
        ("columns=text%252C%20or%20so,number", ["text, or so", "number"]),
        ("columns=text%252C%20or%20so&columns=number", ["text, or so", "number"]),
    ],
)
def test_columns_are_a_projection_in_the_order_asked(
    iterate: Callable[..., TestResponse], query: str, columns: list[str]
) -> None:
    """Names are separated by commas; their own commas are percent-encoded."""
    line = iterate(query + "&limit=1").data.splitlines()[0]

    assert list(json.loads(line)) == columns


@pytest.mark.parametrize(
    "query", ["columns=other", "columns=", "columns=number,", "columns=Number"]
)
def test_an_unknown_column_is_refused(
    iterate: Callable[..., TestResponse], assert_error_shape: ErrorCheck, query: str
) -> None:
    """A column the dataset does not have is a 400 with the names it has."""
    response = iterate(query)

    assert_error_shape(response, 400, "unknown-column")
    assert "number" in response.get_json()["hint"]


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ('"' + "f" * 64 + '"', 200),
        ("*", 200),
        ('"other", "' + "f" * 64 + '"', 200),
        ('"other"', 412),
        ('W/"' + "f" * 64 + '"', 412),
        ('""', 412),
        ("", 412),
    ],
)
def test_if_match_guards_the_content(
    iterate: Callable[..., TestResponse], assert_error_shape: ErrorCheck, wanted: str, status: int
) -> None:
    """Rows come only if the content is the one the client means."""
    response = iterate("limit=1", headers={"If-Match": wanted})

    if status == 412:
        assert_error_shape(response, 412, "content-changed")
    else:
        assert response.status_code == status


def test_head_tells_the_headers_and_reads_no_row(
    client: FlaskClient, handle: str, backend: Any
) -> None:
    """A HEAD request answers as GET does, without a body, and without reading."""
    response = client.head(f"/v1/datasets/{handle}/iter?position=3")

    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["FDSS-Rows"] == "97"
    assert backend.released == []


def test_a_failure_before_the_first_chunk_is_an_error_response(
    client: FlaskClient, handle: str, backend: Any, assert_error_shape: ErrorCheck
) -> None:
    """While nothing is sent the answer is a 500 in JSON, and tells no path of the server."""
    backend.fails_at = 0
    response = client.get(f"/v1/datasets/{handle}/iter")

    assert_error_shape(response, 500, "internal")
    assert b"secret" not in response.data
    assert backend.released == ["batches"]


def test_what_is_read_is_released_at_the_end(
    client: FlaskClient, handle: str, backend: Any
) -> None:
    """A stream that is read to its end lets go of its files."""
    client.get(f"/v1/datasets/{handle}/iter").close()

    assert backend.released == ["batches"]
