"""A server's application without a network, and a backend whose rows lie in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fdss import readiness
from fdss.app import create_app
from fdss.arguments import LoadArguments
from fdss.backend import Chunk, FeaturesJson, Selection
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.errors import error_kinds
from fdss.policy import Grant

TOKEN = "test-token"
ROWS = 100


@dataclass
class TableBackend:
    """Rows in memory, in stored order; counts what is opened and what is released."""

    table: pa.Table
    fingerprint: str = "f" * 64
    stale: bool = False
    fails_at: int | None = None
    released: list[str] = field(default_factory=list)

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of the table."""
        return self.table.schema

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        return list(self.table.column_names)

    @property
    def features(self) -> FeaturesJson:
        """Return an arbitrary description."""
        return {name: {"_type": "Value"} for name in self.table.column_names}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def is_stale(self, *, at_once: bool = False) -> bool:
        """Return what the test says."""
        return self.stale

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        """Refuse: a server reads batches."""
        raise NotImplementedError

    def costs_nothing(self, selection: Selection) -> bool:
        """Say that batches are made when they are asked for."""
        return False

    def pieces(self, selection: Selection) -> Iterator[pa.Buffer | pa.RecordBatch]:
        """Yield the same rows as ``batches``."""
        return self.batches(selection)

    def batches(self, selection: Selection) -> Iterator[pa.RecordBatch]:
        """Yield one batch a row, and note when the reader is done or gone."""
        table = self.table if selection.columns is None else self.table.select(selection.columns)
        try:
            for place in selection.places(0, len(selection)).tolist():
                row = selection.rows[place]
                if row == self.fails_at:
                    raise OSError("/secret/disk is gone")
                yield from table.slice(row, 1).to_batches()
        finally:
            self.released.append("batches")


@pytest.fixture(autouse=True)
def _patient_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no check of a server fail because this machine is slow."""
    monkeypatch.setattr(readiness, "PATIENCE_S", 60.0)


def make_table(rows: int = ROWS, text_bytes: int = 0) -> pa.Table:
    """Return a table of a number and a text column."""
    texts = [f"row {row} " + "x" * text_bytes for row in range(rows)]
    return pa.table({"number": list(range(rows)), "text, or so": texts})


@pytest.fixture
def table_backend() -> Callable[..., TableBackend]:
    """Return what makes a backend of a number of rows with texts of a number of bytes."""

    def make(rows: int = ROWS, text_bytes: int = 0, **fields: Any) -> TableBackend:
        return TableBackend(make_table(rows, text_bytes), **fields)

    return make


@pytest.fixture
def backend() -> TableBackend:
    """Return a backend of 100 rows."""
    return TableBackend(make_table())


@pytest.fixture
def config(tmp_path: Path) -> ServerConfig:
    """Return a configuration with a token and the local dataset ``rows``."""
    folder = tmp_path / "served"
    folder.mkdir()
    return ServerConfig(auth_token=TOKEN, local={"rows": folder})


ClientMaker = Callable[..., FlaskClient]


@pytest.fixture
def make_client(config: ServerConfig, backend: TableBackend) -> ClientMaker:
    """Return what makes a client that sends the token; arguments change the configuration."""

    def opener(granted: Grant, arguments: LoadArguments) -> TableBackend:
        return backend

    def make(**changes: Any) -> FlaskClient:
        changed = replace(config, **changes)
        client = create_app(changed, Catalog(changed, opener=opener)).test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
        return client

    return make


@pytest.fixture
def client(make_client: ClientMaker) -> FlaskClient:
    """Return a client of a server with default flags that sends the token."""
    return make_client()


@pytest.fixture
def handle(client: FlaskClient) -> str:
    """Return the handle of ``local/rows``, loaded."""
    loaded: str = client.post("/v1/load", json={"path": "local/rows"}).get_json()["handle"]
    return loaded


@pytest.fixture
def assert_error_shape() -> Callable[[TestResponse, int, str], None]:
    """Return the check of the one shape every error has."""

    def check(response: TestResponse, status: int, code: str) -> None:
        body = response.get_json()
        assert (response.status_code, body.get("code")) == (status, code)
        assert response.mimetype == "application/json"
        assert set(body) == {"error", "code", "hint"}
        assert all(isinstance(text, str) for text in body.values())
        assert body["error"]
        assert code in error_kinds()

    return check
