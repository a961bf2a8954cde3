"""The servers of the cluster: the list, and what an operator does with it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Blueprint, Response, request

from fdss.errors import BadBundle, BadParameter, NotFound
from fdss.hosts import is_loopback

from .pages import go_to, render
from .tables import Column, Row, Table

if TYPE_CHECKING:
    from fdss.router.router import Router

SERVERS = Table(
    "servers",
    (
        Column("label", "Server", lambda row: row["label"].lower()),
        Column("health", "Health", lambda row: (row["healthy"], row["label"].lower())),
        Column("policy", "Serves"),
        Column("token", "Token", lambda row: row["token"]),
        Column("tls", "TLS", lambda row: (row["base_url"][:5], row["verify_tls"])),
    ),
    lambda row: (row["label"], row["base_url"], row["source"], health_word(row)),
    "label",
)


def servers_blueprint(router: Router) -> Blueprint:
    """Return the pages that list, add and remove servers and give their bundles."""
    blueprint = Blueprint("servers", __name__)

    @blueprint.get("/")
    def begin() -> Response:
        return go_to("/servers")

    @blueprint.get("/servers")
    def show() -> Response:
        listed = router.server_list()["servers"]
        healthy = sum(server["healthy"] for server in listed)
        return render("servers.html", listing=SERVERS.listing(listed), healthy=healthy)

    @blueprint.get("/servers/add")
    def ask_for_one() -> Response:
        return _add_page()

    @blueprint.post("/servers/add")
    def add() -> Response:
        try:
            entry_id = _added(router)
        except (BadParameter, BadBundle) as error:
            return _add_page(400, problem=error)
        return go_to(f"/servers/{_server_id(router, entry_id)}")

    @blueprint.get("/servers/<server_id>/remove")
    def ask_to_remove(server_id: str) -> Response:
        router.member(server_id)
        return render("remove.html", entry=_entry(router, server_id), server_id=server_id)

    @blueprint.post("/servers/<server_id>/remove")
    def remove(server_id: str) -> Response:
        router.registry.remove(_entry(router, server_id)["id"])
        return go_to("/servers")

    @blueprint.post("/servers/<server_id>/bundle")
    def give_bundle(server_id: str) -> Response:
        member = router.member(server_id)
        return render(
            "bundle.html",
            bundle=router.registry.bundle(server_id),
            label=member.label or member.base_url,
            server_id=server_id,
            is_local=is_loopback(urlsplit(member.base_url).hostname or ""),
        )

    return blueprint


def health_word(server: Row) -> str:
    """Return how a server is: well, down, or not asked yet."""
    if server["healthy"]:
        return "healthy"
    return "down" if server["last_health_check"] else "being asked"


def _added(router: Router) -> str:
    """Add what the form names, and return the id of its entry."""
    form = request.form
    label, verify_tls = form.get("label", ""), "verify_tls" in form
    bundle, url = form.get("bundle", "").strip(), form.get("base_url", "").strip()
    if bundle:
        return router.registry.add_bundle(bundle, label, verify_tls)
    if not url:
        raise BadParameter("Neither a bundle nor a URL was given.", hint="paste one of them")
    return router.registry.add(label, url, form.get("auth_token", ""), verify_tls)


def _add_page(status: int = 200, problem: BadParameter | BadBundle | None = None) -> Response:
    # Neither a token nor a bundle nor a password is ever sent back.
    kept = {key: request.form.get(key, "") for key in ("label", "base_url")}
    if "@" in kept["base_url"]:
        kept["base_url"] = ""
    verify_tls = request.method == "GET" or "verify_tls" in request.form
    by_url = bool(kept["base_url"]) and not request.form.get("bundle")
    return render(
        "add.html", status, problem=problem, kept=kept, verify_tls=verify_tls, by_url=by_url
    )


def _server_id(router: Router, entry_id: str) -> str:
    for entry in router.registry.list():
        if entry["id"] == entry_id:
            return str(entry["server_id"])
    raise NotFound("The server has been removed again.")


def _entry(router: Router, server_id: str) -> Row:
    """Return what the registry says of a server.

    Raises:
        NotFound: It is not in there: it announced itself.
    """
    for entry in router.registry.list():
        if entry["server_id"] == server_id:
            return entry
    raise NotFound(
        "This server is not in the registry: it has announced itself to the cluster.",
        hint="stop it, or start it without --cluster, and it leaves by itself",
    )
