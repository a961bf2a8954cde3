"""``fdss bench``: what a link gives, measured on real ones."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certified import Certified
from command_line import Run
from datasets import Dataset
from relay import relay
from ssh import Ssh, running_sshd
from terminals import fdss_in_terminal

from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.client.loader import SERVER_VARIABLE
from fdss.client.pages import COMPRESSION_VARIABLE
from fdss.client.remote import load_remote
from fdss.config import ServerConfig
from fdss.places import tls_folder
from fdss.serving import Server
from fdss.tokens import TOKEN_VARIABLE

FORMS = {"arrow", "arrow lz4", "arrow zstd", "ndjson tagged", "ndjson plain"}
QUICK = ("--seconds", "1")


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a saved dataset of 20 MB that compresses well."""
    folder = tmp_path_factory.mktemp("bench") / "text"
    texts = [f"row {row}: {'all work and no play ' * 50}" for row in range(20_000)]
    Dataset.from_dict({"text": texts}).save_to_disk(str(folder))
    return folder


@pytest.fixture
def text_server(text_folder: Path) -> Iterator[Server]:
    """Run a server of it."""
    with Server(ServerConfig(port=0, local={"text": text_folder})) as server:
        yield server


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Ssh]:
    """Run an sshd that lets this user in."""
    with running_sshd(tmp_path) as running:
        yield running


def test_every_form_order_and_way_of_reading_is_measured(
    run_fdss: Run, text_server: Server
) -> None:
    """One JSON document has link, figures, limit and advice."""
    ended = run_fdss("bench", text_server.url, "local/text", *QUICK, "--json")
    told = json.loads(ended.out)
    kinds = {(one["form"], one["order"], one["connections"], one["reads"]) for one in _all(told)}

    assert (ended.code, told["interrupted"]) == (0, False)
    assert (told["rows"], told["load_args"]["path"]) == (20_000, "local/text")
    assert kinds >= {(form, "stored", 1, "bytes") for form in FORMS}
    assert kinds >= {("arrow", "stored", 4, "bytes"), ("arrow", "shuffled", 1, "bytes")}
    assert kinds >= {("auto", "stored", 1, "rows"), ("auto", "shuffled", 1, "rows")}
    assert all(one["rows_per_s"] > 0 for one in _all(told))
    assert told["round_trip_s"]["p95"] >= told["round_trip_s"]["median"] > 0
    assert told["connect_s"] > 0 and told["tls_s"] is None
    assert told["rounds"] >= 1
    sizes = {one["form"]: one["bytes_per_row"] for one in _all(told) if one["reads"] == "bytes"}
    assert sizes["arrow zstd"] * 3 < sizes["arrow"]


def _all(told: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told["measured"]
    return found


@pytest.mark.long
def test_people_read_a_table_and_a_conclusion(run_fdss: Run, server: Server) -> None:
    """The text says what is done, shows every form, and what limits; a small dataset is told."""
    ended = run_fdss("bench", server.url, "local/sample", *QUICK, "--split", "train[:1%]")

    assert ended.code == 0
    assert ended.err.startswith(f"reading local/sample of {server.url} for about 1 s;")
    assert "local/sample train[:1%]" in ended.out and ": 10 rows," in ended.out
    for form in FORMS:
        assert f"\n{form} " in ended.out
    assert "What limits it: the dataset: 10 rows are over before a link shows" in ended.out


@pytest.mark.long
def test_the_server_may_be_named_as_elsewhere(
    run_fdss: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path alone goes to the server of the variable or of --server; two servers are refused."""
    twice = run_fdss("bench", server.url, "local/sample", "--server", server.url)
    given = run_fdss("bench", "local/sample", "--server", server.url, *QUICK)
    monkeypatch.setenv(SERVER_VARIABLE, server.url)
    found = run_fdss("bench", "local/sample", *QUICK)
    alone = run_fdss("bench", server.url)

    assert (twice.code, given.code, found.code, alone.code) == (2, 0, 0, 2)
    assert "named twice" in twice.err
    assert "PATH after the URL" in alone.err


def test_errors_are_those_of_a_load(run_fdss: Run, server: Server) -> None:
    """What cannot be loaded, or must not be, is one error and no table."""
    missing = run_fdss("bench", server.url, "local/nobody")
    insecure = run_fdss("bench", "https://127.0.0.1:1", "local/sample", "--insecure")
    empty = run_fdss("bench", "http://127.0.0.1:1", "local/sample")

    assert (missing.code, insecure.code, empty.code) == (1, 1, 1)
    assert "Unknown local dataset" in missing.err and missing.out == ""
    assert "--insecure leaves" in insecure.err and "fdss tls import-ca" in insecure.err
    assert "Could not reach" in empty.err


@pytest.mark.long
def test_a_handshake_is_measured(run_fdss: Run, tmp_path: Path, sample_folder: Path) -> None:
    """Over https the time of TLS is told beside that of the connection."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    certified = Certified(folder)
    identity = certified.identity()
    bundle = tls_folder() / "ca-bundle.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(certified.ca.read_bytes())
    config = ServerConfig(
        port=0, local={"sample": sample_folder}, tls_cert=identity.cert, tls_key=identity.key
    )
    with Server(config) as server:
        told = json.loads(run_fdss("bench", server.url, "local/sample", *QUICK, "--json").out)

    assert server.url.startswith("https:")
    assert told["tls_s"] > 0
    assert len(_all(told)) >= 15


@pytest.mark.long
def test_a_tunnel_is_measured(
    run_fdss: Run, text_server: Server, sshd: Ssh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through ssh everything is measured, with the token of the environment."""
    monkeypatch.setenv(TOKEN_VARIABLE, str(text_server.token))
    with sshd.tunnel(text_server.config.port) as tunnel:
        url = f"http://127.0.0.1:{tunnel.port}"
        told = json.loads(run_fdss("bench", url, "local/text", *QUICK, "--json").out)

    assert len(_all(told)) >= 15
    assert told["limit"] is not None


@pytest.mark.long
def test_advised_compression_takes_less_of_a_link(
    text_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job with the variable that is advised takes fewer bytes over its link."""
    monkeypatch.setenv(TOKEN_VARIABLE, str(text_server.token))
    monkeypatch.setenv(COMPRESSION_VARIABLE, "none")
    plain_bytes = _bytes_of_rows(text_server)
    monkeypatch.setenv(COMPRESSION_VARIABLE, "zstd")

    assert _bytes_of_rows(text_server) < plain_bytes / 4


def _bytes_of_rows(server: Server) -> int:
    """Return the bytes that pass a link both ways for 5,000 rows."""
    with relay(server.config.port) as link:
        backend = load_remote(f"http://127.0.0.1:{link.port}", LoadArguments("local/text"))
        selection = Selection(range(len(backend)), range(5_000))
        assert sum(len(chunk.rows()) for chunk in backend.chunks(selection)) == 5_000
    return sum(link.handed_bytes)


@pytest.mark.long
@pytest.mark.only_on("linux", "darwin")
def test_an_interruption_tells_what_was_measured(text_server: Server) -> None:
    """Ctrl-C in the first round ends with the figures that there are."""
    arguments = ("bench", text_server.url, "local/text", "--seconds", "60", "--json")
    with fdss_in_terminal(*arguments) as terminal:
        terminal.wait_for("round 1: arrow zstd")
        os.kill(terminal.process.pid, signal.SIGINT)
        code, output = terminal.end()
    told = json.loads(output)

    assert (code, told["interrupted"], told["rounds"]) == (130, True, 0)
    assert {"arrow", "arrow lz4"} <= {one["form"] for one in _all(told)}
    assert len(_all(told)) < 15


@pytest.mark.long
@pytest.mark.only_on("linux", "darwin")
def test_part_of_a_round_is_no_table(text_server: Server) -> None:
    """Ctrl-C before the first round is whole tells people so, and no figures."""
    arguments = ("bench", text_server.url, "local/text", "--seconds", "60")
    with fdss_in_terminal(*arguments) as terminal:
        terminal.wait_for("round 1: arrow zstd")
        os.kill(terminal.process.pid, signal.SIGINT)
        code, output = terminal.end()

    assert code == 130
    assert output.endswith("nothing else was measured: it ended before the first round was whole\n")
    assert "MB/S" not in output


@pytest.mark.long
@pytest.mark.only_on("linux", "darwin")
def test_an_error_is_all_that_is_told(text_server: Server) -> None:
    """A server that goes away while it is measured is an error, and no table stands before it."""
    arguments = ("bench", text_server.url, "local/text", "--seconds", "60")
    with fdss_in_terminal(*arguments) as terminal:
        terminal.wait_for("round 1: arrow zstd")
        text_server.close()
        terminal.wait_for("error: ")
        code, output = terminal.end()

    assert (code, output) == (1, "")
