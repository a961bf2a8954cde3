"""The one table of the router's settings: flags, keys of its section of the file, defaults, help.

What a router and a dataset server have in common is the server's own setting.
"""

from __future__ import annotations

from dataclasses import replace

from fdss.settings import BY_KEY as SERVER_SETTINGS, Setting

from .names import DEFAULT_CLUSTER, DEFAULT_PORT, MDNS, REGISTRY

_SHARED_KEYS = (
    "log_level",
    "auth_token",
    "auth_token_file",
    "no_auth",
    "quiet_tokens",
    "tls",
    "no_tls",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "idle_timeout",
    "request_timeout",
    "drain_timeout",
)

OWN_SETTINGS = (
    Setting(
        "membership",
        str,
        REGISTRY,
        f"Who belongs to the cluster besides the registry: {REGISTRY} (nobody), {MDNS} (servers "
        "of this subnet that announce themselves), or the URL of a Redis they write to.",
        metavar="KIND",
    ),
    Setting(
        "cluster",
        str,
        DEFAULT_CLUSTER,
        "Name of the cluster, which its servers are started with too.",
        metavar="NAME",
    ),
    Setting(
        "servers_token_file",
        str,
        None,
        "File with the token of all dataset servers that no membership gives one for.",
        metavar="FILE",
    ),
)

ROUTER_SETTINGS = (
    SERVER_SETTINGS["host"],
    replace(SERVER_SETTINGS["port"], default=DEFAULT_PORT),
    *(SERVER_SETTINGS[key] for key in _SHARED_KEYS),
    replace(
        SERVER_SETTINGS["regen_token"],
        help="Replace the kept token of this machine's routers by a fresh one.",
    ),
    replace(
        SERVER_SETTINGS["insecure"],
        help="Listen beyond this machine, and believe servers announced by mDNS, without TLS.",
    ),
    *OWN_SETTINGS,
)

BY_KEY = {setting.key: setting for setting in ROUTER_SETTINGS}
