"""A data host behind a real ssh tunnel, as a workstation sees it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from ssh import Ssh, running_sshd

from fdss import places, tokens
from fdss.arguments import LoadArguments
from fdss.client import (
    ComposableIterableDataset,
    RemoteBackend,
    Transfer,
    fast_load_iterable_dataset,
    load_remote,
)
from fdss.client.loader import SERVER_VARIABLE
from fdss.client.session import ServerSession
from fdss.config import ServerConfig
from fdss.errors import AuthenticationRequired, PageCut, ServerUnreachable, ServerUntrusted
from fdss.serving import Server
from fdss.tokens import TOKEN_VARIABLE
from fdss.wire.names import DATASETS_PATH

pytestmark = pytest.mark.only_on("linux", "darwin")

# More than the sockets on the way hold.
LARGE_ROWS = 3000
LARGE_ROW_BYTES = 10_000


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    """Run an sshd that lets this user in."""
    with running_sshd(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority that the workstation has imported."""
    made = Authority(tmp_path)
    bundle = places.tls_folder() / "ca-bundle.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(made.files.cert.read_bytes())
    return made


@pytest.fixture
def data_host(sample_folder: Path) -> Iterator[Server]:
    """Run a server without TLS."""
    with Server(ServerConfig(port=0, local={"sample": sample_folder})) as server:
        yield server


@pytest.fixture
def secure_host(sample_folder: Path, authority: Authority) -> Iterator[Server]:
    """Run a server whose certificate is for localhost and its addresses."""
    files = authority.sign()
    config = ServerConfig(
        port=0, local={"sample": sample_folder}, tls_cert=files.cert, tls_key=files.key
    )
    with Server(config) as server:
        yield server


def port_of(server: Server) -> int:
    """Return the port of a server."""
    return int(server.url.rpartition(":")[2])


def test_rows_come_through_a_tunnel(
    ssh: Ssh,
    data_host: Server,
    sample_rows: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The workflow of the product text: two variables, and the loader reads the data host."""
    assert data_host.token is not None
    with ssh.tunnel(port_of(data_host)) as tunnel:
        monkeypatch.setenv(SERVER_VARIABLE, f"http://localhost:{tunnel.port}")
        monkeypatch.setenv(TOKEN_VARIABLE, data_host.token)
        dataset = fast_load_iterable_dataset("local/sample", split="train")
        assert list(dataset) == sample_rows


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_https_through_a_tunnel_is_verified(
    ssh: Ssh, secure_host: Server, sample_rows: list[dict[str, Any]], host: str
) -> None:
    """TLS ends at the data host; the names of loopback are in its certificate."""
    with ssh.tunnel(port_of(secure_host)) as tunnel:
        backend = load_remote(
            f"https://{host}:{tunnel.port}",
            LoadArguments("local/sample"),
            token=secure_host.token,
        )
        assert list(ComposableIterableDataset(backend)) == sample_rows


def test_server_of_another_authority_is_refused_through_a_tunnel(
    ssh: Ssh, secure_host: Server
) -> None:
    """A tunnel is no reason to trust what is at its end."""
    (places.tls_folder() / "ca-bundle.crt").unlink()
    with (
        ssh.tunnel(port_of(secure_host)) as tunnel,
        contextlib.closing(
            ServerSession(f"https://localhost:{tunnel.port}", secure_host.token)
        ) as session,
        pytest.raises(ServerUntrusted, match="does not know"),
    ):
        session.get_json(DATASETS_PATH)


@pytest.mark.parametrize("is_variable", [True, False])
def test_explicit_token_beats_the_workstations_own(
    ssh: Ssh, data_host: Server, monkeypatch: pytest.MonkeyPatch, is_variable: bool
) -> None:
    """The token file of the tunnel's port is of a server of the workstation."""
    assert data_host.token is not None
    with ssh.tunnel(port_of(data_host)) as tunnel:
        tokens.keep(places.token_file(tunnel.port), "a" * 64)
        if is_variable:
            monkeypatch.setenv(TOKEN_VARIABLE, data_host.token)
        given = None if is_variable else data_host.token
        with contextlib.closing(ServerSession(f"http://localhost:{tunnel.port}", given)) as session:
            assert session.get_json(DATASETS_PATH)["handles"] == []


@pytest.mark.parametrize("has_file", [True, False])
def test_missing_token_is_explained_through_a_tunnel(
    ssh: Ssh, data_host: Server, has_file: bool
) -> None:
    """Without an explicit token the error says that a tunnel needs one, and how to give it."""
    with ssh.tunnel(port_of(data_host)) as tunnel:
        if has_file:
            tokens.keep(places.token_file(tunnel.port), "a" * 64)
        with (
            contextlib.closing(ServerSession(f"http://localhost:{tunnel.port}")) as session,
            pytest.raises(AuthenticationRequired) as caught,
        ):
            session.get_json(DATASETS_PATH)
    assert TOKEN_VARIABLE in caught.value.hint
    assert ("tunnel" if has_file else "keeps no token") in caught.value.hint


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a saved dataset of 30 MB."""
    from datasets import Dataset

    folder = tmp_path_factory.mktemp("large") / "saved"
    text = "x" * LARGE_ROW_BYTES
    Dataset.from_dict({"n": range(LARGE_ROWS), "text": [text] * LARGE_ROWS}).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("is_secure", [True, False])
def test_tunnel_that_dies_is_an_error_and_its_successor_resumes(
    ssh: Ssh, large_folder: Path, authority: Authority, is_secure: bool
) -> None:
    """Rows that do not come are never the end of the data; a new tunnel brings the rest."""
    files = authority.sign()
    config = ServerConfig(port=0, local={"large": large_folder})
    if is_secure:
        config = replace(config, tls_cert=files.cert, tls_key=files.key)
    with Server(config) as server:
        with ssh.tunnel(port_of(server)) as tunnel:
            url = f"{'https' if is_secure else 'http'}://localhost:{tunnel.port}"
            dataset = ComposableIterableDataset(large(url, server.token))
            rows = iter(dataset)
            came = [row["n"] for row in itertools.islice(rows, 10)]
            tunnel.cut()
            with pytest.raises((PageCut, ServerUnreachable)):
                came.extend(row["n"] for row in rows)
            state = dataset.state_dict()
        assert len(came) < LARGE_ROWS
        with ssh.tunnel(port_of(server), tunnel.port):
            again = ComposableIterableDataset(large(url, server.token))
            again.load_state_dict(state)
            came.extend(row["n"] for row in again)
    assert came == list(range(LARGE_ROWS))


def large(url: str, token: str | None) -> RemoteBackend:
    """Return the large dataset, of which little is read ahead."""
    transfer = Transfer(read_ahead_bytes=1 << 20)
    return load_remote(url, LoadArguments("local/large"), token=token, transfer=transfer)
