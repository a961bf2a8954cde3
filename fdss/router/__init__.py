"""The cluster's router: it knows which servers there are, and which of them to read from.

``membership`` says who belongs to the cluster; ``watching`` asks each server for its health and
what it offers; ``knowledge`` keeps the answers; ``resolving`` chooses a server for a client;
``app`` and ``serving`` are what clients talk to. Routers are equal: none keeps anything that
another needs.
"""

from __future__ import annotations
