"""What a server counts, as Prometheus reads it, of requests as clients make them."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests
from certified import Certified
from clusters import eventually
from raw_client import TOKEN, connected, get, received, sent
from scraping import Expected, Scrape, scraped, settled

from fdss import listener
from fdss.arguments import LoadArguments
from fdss.config import ServerConfig
from fdss.metrics.families import Kind
from fdss.metrics.server import ENDPOINTS as COUNTED, FAMILIES
from fdss.openapi import ENDPOINTS
from fdss.serving import Server
from fdss.wire.names import ARROW

ARGUMENTS = LoadArguments("local/rows")
ITER = f"/v1/datasets/{ARGUMENTS.handle}/iter"
ITER_TEMPLATE = "/v1/datasets/{handle}/iter"
AUTHORIZED = {"Authorization": "Bearer test-token"}

Maker = Callable[..., Any]


@contextmanager
def _serving(config: ServerConfig, backend: Any, **settings: Any) -> Iterator[Server]:
    config = replace(config, port=0, **settings)
    with Server(config, opener=lambda granted, arguments: backend) as server:
        server.catalog.load(ARGUMENTS)
        yield server


def _scraped(server: Server) -> Scrape:
    return scraped(server.url, server.token)


def _get(server: Server, path: str, **headers: str) -> requests.Response:
    return requests.get(server.url + path, headers={**AUTHORIZED, **headers}, timeout=60)


def _eventually(server: Server, name: str, value: float, **labels: str) -> Scrape:
    """Return the first scrape in which numbers have a sum: they are counted after the last byte."""
    return _settled(server, (value, name, labels))


def _settled(server: Server, *expected: Expected) -> Scrape:
    """Return the first scrape in which all sums are there."""
    return settled(lambda: _scraped(server), *expected)


def _apply(server: Server, **settings: Any) -> None:
    """Return once a server answers with other settings."""
    changed = replace(server.config, **settings)
    server.call(lambda: server.apply(changed))
    eventually(lambda: server.config == changed)


def test_every_endpoint_is_counted_by_its_template() -> None:
    """The endpoints that are told apart are those of the API's description."""
    assert set(COUNTED) == {endpoint.path for endpoint in ENDPOINTS}


def test_every_metric_is_told_by_a_server_that_has_worked(
    config: ServerConfig, backend: Any, tmp_path: Path
) -> None:
    """Each line of the table is in the answer, as the kind that it says, and nothing else is."""
    tls = Certified(tmp_path)
    identity = tls.identity()
    with _serving(config, backend, tls_cert=identity.cert, tls_key=identity.key) as server:
        answer = requests.get(server.url + ITER, headers=AUTHORIZED, timeout=60, verify=str(tls.ca))
        assert answer.ok
        # Some are told from their first number on.
        seen = settled(
            lambda: scraped(server.url, server.token, verify=str(tls.ca)),
            (1, "fdss_answer_seconds_count", {"endpoint": ITER_TEMPLATE}),
        )
        kinds = {Kind.LIVE: "gauge"}
        told = {family.name: kinds.get(family.kind, family.kind.value) for family in FAMILIES}
        assert seen.kinds == told
        expiry = seen.sum("fdss_certificate_expiry_timestamp_seconds")
        assert 29 * 86400 < expiry - seen.sum("fdss_start_timestamp_seconds") < 31 * 86400


def test_a_server_without_tls_tells_no_certificate(config: ServerConfig, backend: Any) -> None:
    """A gauge of nothing is left out."""
    with _serving(config, backend) as server:
        assert "fdss_certificate_expiry_timestamp_seconds" not in _scraped(server).kinds


def test_requests_rows_and_bytes_are_exact(config: ServerConfig, table_backend: Maker) -> None:
    """What clients have received is what is counted: requests, rows, bytes, sizes of pages."""
    with _serving(config, table_backend(1000)) as server:
        pages = [
            _get(server, f"{ITER}?position={position}&limit=50", **accept)
            for position in range(0, 1000, 50)
            for accept in ({}, {"Accept": ARROW})
        ]
        size_bytes = sum(len(page.content) for page in pages)
        pages_of = {"endpoint": ITER_TEMPLATE}
        seen = _settled(
            server,
            (40, "fdss_requests_total", {**pages_of, "method": "GET", "status": "200"}),
            (40, "fdss_requests_total", pages_of),
            (2000, "fdss_sent_rows_total", {}),
            (2000, "fdss_page_rows_sum", {}),
            (40, "fdss_page_rows_count", {}),
            (40, "fdss_page_rows_bucket", {"le": "64.0"}),
            (0, "fdss_page_rows_bucket", {"le": "16.0"}),
            (size_bytes, "fdss_sent_bytes_total", pages_of),
            (size_bytes, "fdss_page_bytes_sum", {}),
            (20, "fdss_streams_total", {"encoding": "ndjson", "outcome": "whole"}),
            (20, "fdss_streams_total", {"encoding": "arrow", "outcome": "whole"}),
            (40, "fdss_stream_seconds_count", {}),
            (40, "fdss_answer_seconds_count", pages_of),
            (1, "fdss_load_seconds_count", {"outcome": "opened"}),
            (1, "fdss_open_datasets", {}),
            (1, "fdss_workers", {}),
        )

        assert seen.sum("fdss_stream_seconds_sum") > 0


def test_heads_and_unknown_paths_have_no_names_of_strangers(
    config: ServerConfig, backend: Any, tmp_path: Path
) -> None:
    """Labels are of a short list: no path, handle, method or token that somebody made up."""
    with _serving(config, backend) as server:
        for number in range(30):
            _get(server, f"/made-up-{number}?x=made-up")
            _get(server, f"/v1/datasets/made-up-{number}/iter")
            requests.request(f"MADEUP{number}", server.url, headers=AUTHORIZED, timeout=60).close()
        requests.get(server.url, headers={"Authorization": "Bearer made-up"}, timeout=60)
        assert requests.head(server.url + ITER, headers=AUTHORIZED, timeout=60).ok
        seen = _settled(
            server,
            (1, "fdss_requests_total", {"method": "HEAD"}),
            (60, "fdss_requests_total", {"endpoint": "other", "status": "404"}),
            (30, "fdss_requests_total", {"method": "other"}),
            (30, "fdss_refusals_total", {"code": "unknown-handle"}),
            (1, "fdss_refusals_total", {"code": "authentication-required"}),
        )

        assert "made" not in seen.text.lower()
        assert "test-token" not in seen.text
        assert str(tmp_path) not in seen.text
        assert seen.labels("fdss_requests_total", "endpoint") <= {*COUNTED, "other"}
        assert seen.labels("fdss_requests_total", "method") <= {
            "GET",
            "HEAD",
            "POST",
            "DELETE",
            "other",
        }
        assert seen.sum("fdss_streams_total") == 0


def test_a_client_that_leaves_is_told_from_one_that_read_all(
    config: ServerConfig, table_backend: Maker
) -> None:
    """A stream under way is in flight; one that its client leaves has ended so."""
    with _serving(config, table_backend(256, 1 << 17)) as server:
        with connected(server.config.port, 1 << 14) as client:
            client.sendall(get(ITER, TOKEN))
            assert client.recv(100)
            _eventually(server, "fdss_streams_in_flight", 1)
        seen = _settled(
            server,
            (1, "fdss_streams_total", {"outcome": "left", "encoding": "ndjson"}),
            (1, "fdss_stream_seconds_count", {}),
            (0, "fdss_streams_in_flight", {}),
        )

        assert seen.sum("fdss_streams_total", outcome="whole") == 0
        assert seen.sum("fdss_page_rows_count") == 0
        assert 0 < seen.sum("fdss_sent_rows_total") < 256


def test_a_stream_that_fails_is_cut(config: ServerConfig, table_backend: Maker) -> None:
    """Rows that cannot be made in the middle of a stream are a cut, with the code of the error."""
    with _serving(config, table_backend(256, 1 << 14, fails_at=200)) as server:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _get(server, ITER)
        seen = _settled(
            server,
            (1, "fdss_streams_total", {"outcome": "cut"}),
            (1, "fdss_cuts_total", {"code": "internal"}),
            (1, "fdss_cuts_total", {}),
        )

        assert seen.sum("fdss_refusals_total", code="internal") == 0
        assert _get(server, f"{ITER}?position=200").status_code == 500
        seen = _eventually(server, "fdss_refusals_total", 1, code="internal")
        assert seen.sum("fdss_streams_total") == 1


def test_a_file_that_is_cut_while_it_is_sent_is_a_cut(tmp_path: Path) -> None:
    """Bytes that the kernel no longer finds are a cut of a stream, not a client that left."""
    file = tmp_path / "rows.arrow"
    table = pa.table({"text": ["x" * (1 << 20)] * 64})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=1):
            writer.write_batch(batch)
    config = ServerConfig(port=0, no_auth=True, local={"rows": file})
    with Server(config) as server:
        server.catalog.load(LoadArguments("local/rows"))
        with connected(server.config.port, 1 << 14) as client:
            client.sendall(get(ITER, b"Accept: %s\r\n" % ARROW.encode()))
            assert client.recv(100)
            _eventually(server, "fdss_streams_in_flight", 1)
            with file.open("r+b") as cut:
                cut.truncate(1 << 16)
            received(client)
        _settled(
            server,
            (1, "fdss_streams_total", {"outcome": "cut", "encoding": "arrow"}),
            (1, "fdss_cuts_total", {"code": "content-changed"}),
        )


def test_stalled_clients_are_seen_and_counted(
    config: ServerConfig, table_backend: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that takes nothing is stalled after a while, then cut off; others are not."""
    monkeypatch.setattr(listener, "STALLED_S", 0.5)
    with _serving(config, table_backend(256, 1 << 17), stall_timeout=600) as server:
        with ExitStack() as stack:
            for _ in range(3):
                client = stack.enter_context(connected(server.config.port, 1 << 14))
                client.sendall(get(ITER, TOKEN))
            idle = stack.enter_context(connected(server.config.port))
            assert idle
            seen = _eventually(server, "fdss_stalled_connections", 3)
            assert seen.sum("fdss_connections") >= 4
            assert seen.sum("fdss_stalled_clients_total") == 0
            _apply(server, stall_timeout=1)
            _settled(
                server,
                (3, "fdss_stalled_clients_total", {}),
                (0, "fdss_stalled_connections", {}),
                (3, "fdss_streams_total", {"outcome": "left"}),
            )
        # Scrapes come over connections of their own, the last of which may not be gone yet.
        eventually(lambda: _scraped(server).sum("fdss_connections") < 4)


def test_refusals_before_the_application_are_counted(config: ServerConfig, backend: Any) -> None:
    """What is no request, too long or one too many has a code, whoever found it."""
    with _serving(config, backend, max_streams=1, max_url_bytes=300, max_connections=8) as server:
        port = server.config.port
        sent(port, b"NO REQUEST AT ALL\r\n\r\n")
        sent(port, get("/" + "x" * 400, TOKEN))
        _settled(
            server,
            (1, "fdss_refusals_total", {"code": "url-too-long"}),
            (1, "fdss_refusals_total", {"code": "bad-request"}),
            (1, "fdss_requests_total", {"endpoint": "other", "status": "414"}),
        )
        assert _get(server, f"{ITER}?limit=x").status_code == 400
        assert _get(server, "/v1/load").status_code == 405
        with ExitStack() as stack:
            for _ in range(12):
                stack.enter_context(connected(port))
            last = stack.enter_context(connected(port))
            last.sendall(get("/v1/health"))
            assert b" 503 " in last.recv(1000)
        eventually(lambda: _get(server, "/metrics").ok)
        seen = _settled(
            server,
            (1, "fdss_refusals_total", {"code": "bad-parameter"}),
            (1, "fdss_refusals_total", {"code": "method-not-allowed"}),
        )
        # Those are counted before they are sent.
        assert seen.sum("fdss_refusals_total", code="too-many-connections") >= 1


def test_failed_authentications_are_counted(config: ServerConfig, backend: Any) -> None:
    """A missing token is told from a wrong one."""
    with _serving(config, backend) as server:
        for _ in range(3):
            requests.get(f"{server.url}/v1/datasets", timeout=60)
        for path in ("/metrics", "/v1/ready"):
            wrong = {"Authorization": "Bearer wrong"}
            assert requests.get(server.url + path, headers=wrong, timeout=60).status_code == 401
        _settled(
            server,
            (3, "fdss_failed_authentications_total", {"token": "missing"}),
            (2, "fdss_failed_authentications_total", {"token": "wrong"}),
            (5, "fdss_refusals_total", {"code": "authentication-required"}),
        )


def test_failed_handshakes_are_counted_by_reason(
    config: ServerConfig, backend: Any, tmp_path: Path
) -> None:
    """Plain HTTP, nonsense, and a client that begins and does not go on are told apart."""
    tls = Certified(tmp_path)
    identity = tls.identity()
    pair = {"tls_cert": identity.cert, "tls_key": identity.key}
    with _serving(config, backend, request_timeout=600, **pair) as server:
        port = server.config.port
        with connected(port) as silent:
            silent.sendall(b"\x16\x03\x01")
            sent(port, b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ConnectionResetError):
                sent(port, b"\x00\x01\x02 nonsense that is longer than the head of a record")
            context = ssl.create_default_context()
            with (
                socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
                pytest.raises(ssl.SSLError),
            ):
                context.wrap_socket(plain, server_hostname="localhost")

            _apply(server, request_timeout=1)
            with suppress(ConnectionResetError):
                assert silent.recv(1) == b""
            # Nobody else may be late.
            _apply(server, request_timeout=600)
        settled(
            lambda: scraped(server.url, server.token, verify=str(tls.ca)),
            *(
                (count, "fdss_failed_handshakes_total", {"reason": reason})
                for reason, count in (("plain-http", 1), ("broken", 2), ("late", 1))
            ),
        )


def test_loads_and_index_builds_are_timed(sample_folder: Path) -> None:
    """A dataset is indexed once, and opened again in another server without; a failure counts."""
    config = ServerConfig(port=0, no_auth=True, local={"rows": sample_folder})
    for builds in (1, 0):
        with Server(config) as server:
            for path, status in (("local/rows", 200), ("local/rows", 200)):
                answer = requests.post(f"{server.url}/v1/load", json={"path": path}, timeout=60)
                assert answer.status_code == status
            wrong = {"path": "local/rows", "split": "nosuchsplit"}
            assert requests.post(f"{server.url}/v1/load", json=wrong, timeout=60).status_code == 404
            nobody = {"path": "local/nobody"}
            assert (
                requests.post(f"{server.url}/v1/load", json=nobody, timeout=60).status_code == 404
            )
            _settled(
                server,
                (1, "fdss_refusals_total", {"code": "split-not-found"}),
                (1, "fdss_refusals_total", {"code": "unknown-local"}),
                (builds, "fdss_index_build_seconds_count", {}),
                (1, "fdss_load_seconds_count", {"outcome": "opened"}),
                (1, "fdss_load_seconds_count", {"outcome": "failed"}),
                (1, "fdss_open_datasets", {}),
            )


def test_open_datasets_are_those_of_the_settings_in_force(
    config: ServerConfig, backend: Any, tmp_path: Path
) -> None:
    """What is still being opened under settings that are replaced counts for nobody."""
    begun, freed = threading.Event(), threading.Event()

    def opener(granted: Any, arguments: LoadArguments) -> Any:
        if arguments.path == "local/slow":
            begun.set()
            assert freed.wait(60)
        return backend

    named = {name: tmp_path for name in ("one", "two", "slow")}
    with Server(replace(config, port=0, local=named), opener=opener) as server:
        for name in ("one", "two"):
            server.catalog.load(LoadArguments(f"local/{name}"))
        former = server.catalog
        late = threading.Thread(target=former.load, args=(LoadArguments("local/slow"),))
        late.start()
        assert begun.wait(60)
        _apply(server, local={"one": tmp_path})
        eventually(lambda: server.catalog is not former)
        freed.set()
        late.join()

        assert len(server.catalog.entries()) == 1
        assert _scraped(server).sum("fdss_open_datasets") == 1


def test_servers_of_one_process_count_for_themselves(config: ServerConfig, backend: Any) -> None:
    """Neither another server nor other settings change what a server has counted."""
    import prometheus_client

    with _serving(config, backend) as one, _serving(config, backend) as other:
        for _ in range(5):
            assert _get(one, ITER).ok
        _eventually(one, "fdss_requests_total", 5, endpoint=ITER_TEMPLATE)
        _apply(one, log_level="ERROR")

        assert _scraped(other).sum("fdss_requests_total", endpoint=ITER_TEMPLATE) == 0
        assert _scraped(one).sum("fdss_requests_total", endpoint=ITER_TEMPLATE) == 5
        assert _scraped(one).sum("fdss_workers") == 1
    shared = prometheus_client.generate_latest(prometheus_client.REGISTRY).decode()
    assert not re.search("^fdss", shared, re.MULTILINE)


def test_the_description_tells_what_is_answered(config: ServerConfig, backend: Any) -> None:
    """The type of the text stands in the description, and both are behind the gate."""
    with _serving(config, backend) as server:
        described = json.loads(_get(server, "/v1/openapi.json").content)["paths"]

        answer = _get(server, "/metrics")
        assert list(described["/metrics"]["get"]["responses"]["200"]["content"]) == [
            answer.headers["Content-Type"]
        ]
        assert requests.get(f"{server.url}/metrics", timeout=60).status_code == 401
