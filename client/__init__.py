"""What a training job imports: datasets that lie here or at a server, read the same way.

Names are imported when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdss.storage import ArrowBackend as ArrowBackend

    from .dataset import ComposableIterableDataset as ComposableIterableDataset
    from .limits import ClientLimits as ClientLimits
    from .loader import (
        fast_load_iterable_dataset as fast_load_iterable_dataset,
        local_load as local_load,
    )
    from .memory import InMemoryBackend as InMemoryBackend
    from .pages import Transfer as Transfer
    from .remote import RemoteBackend as RemoteBackend, load_remote as load_remote
    from .resilient import ResilientRemoteBackend as ResilientRemoteBackend
    from .session import ServerSession as ServerSession

_PLACES = {
    "ArrowBackend": "fdss.storage",
    "ClientLimits": "fdss.client.limits",
    "ComposableIterableDataset": "fdss.client.dataset",
    "InMemoryBackend": "fdss.client.memory",
    "RemoteBackend": "fdss.client.remote",
    "ResilientRemoteBackend": "fdss.client.resilient",
    "ServerSession": "fdss.client.session",
    "Transfer": "fdss.client.pages",
    "fast_load_iterable_dataset": "fdss.client.loader",
    "load_remote": "fdss.client.remote",
    "local_load": "fdss.client.loader",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
