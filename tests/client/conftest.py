"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from raw_server import StartServer, raw_servers


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Return a call that starts a server which answers with exactly the bytes a test gives it."""
    with raw_servers() as start:
        yield start
