"""Where FDSS keeps and finds things on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def config_folder() -> Path:
    """Return Forgather's configuration folder (``~/.config/forgather`` on Linux)."""
    return platformdirs.user_config_path("forgather", appauthor=False)


def server_folder() -> Path:
    """Return the folder of the dataset server's own files: tokens, handles, configuration."""
    return config_folder() / "dataset_server"


def token_file(port: int) -> Path:
    """Return the file that holds the token of the server on ``port``."""
    return server_folder() / f"{port}.token"


def handles_file(port: int) -> Path:
    """Return the file that holds the handles of the server on ``port``."""
    return server_folder() / f"{port}.handles.json"


def default_config_file() -> Path:
    """Return the configuration file that is read when none is named."""
    return server_folder() / "config.yaml"


def tls_folder() -> Path:
    """Return the folder of certificates and keys, which $FORGATHER_TLS_DIR can name."""
    named = os.environ.get("FORGATHER_TLS_DIR")
    return Path(os.path.expanduser(named)).absolute() if named else config_folder() / "tls"


def router_folder() -> Path:
    """Return the folder of the cluster router's own files: token, registry, configuration."""
    return config_folder() / "server"


def router_token_file() -> Path:
    """Return the file that holds the token of this machine's router."""
    return router_folder() / "auth_token"


def index_folder() -> Path:
    """Return the folder of record-batch indexes and prepared files."""
    return platformdirs.user_cache_path("fdss", appauthor=False) / "indexes"


def datasets_cache() -> Path:
    """Return the root of the HF datasets cache, as ``datasets`` itself finds it."""
    named = os.environ.get("HF_DATASETS_CACHE")
    return Path(named).expanduser() if named else _hf_home() / "datasets"


def hub_cache() -> Path:
    """Return the root of the HF hub cache, which knows the commit of each branch and tag."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(named).expanduser() if named else _hf_home() / "hub"


def _hf_home() -> Path:
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"
