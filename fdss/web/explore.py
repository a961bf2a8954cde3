"""The pages on which people look at rows: servers, what they have, their rows, one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flask import Blueprint, Response, request

from fdss.errors import FdssError, NotFound
from fdss.router.asking import AskFailed
from fdss.router.membership import Member
from fdss.router.offers import Offer
from fdss.router.router import Router

from .explore_datasets import SOURCES, Listing, listing, siblings
from .explore_errors import trouble_of
from .explore_links import LIMITS, MOST_CHARACTERS, ROOT, Place, number, server_url
from .explore_opening import Openings, StillOpening
from .explore_raw import add_raw
from .explore_rows import (
    MOST_NAME,
    TABLE,
    WHOLE,
    Page,
    asked_names,
    check_position,
    page_of,
    wanted_columns,
)
from .pages import render
from .values import Fold
from .values_text import shortened, visible

#: How soon a page that waits asks again.
REFRESH_S = 2
MOST_PAGES = 1_000_000


def explore_blueprint(router: Router, openings: Openings | None = None) -> Blueprint:
    """Return the pages below /explore.

    Args:
        openings: What is open for pages; of the router's proxy if None.
    """
    blueprint = Blueprint("explore", __name__)
    openings = openings or Openings(router.proxy)
    pages = _Pages(router, openings)
    rules: dict[str, Callable[..., Response]] = {
        ROOT: pages.servers,
        f"{ROOT}/<server_id>": pages.datasets,
        f"{ROOT}/<server_id>/rows": pages.rows,
        f"{ROOT}/<server_id>/row": pages.row,
    }
    for rule, view in rules.items():
        blueprint.add_url_rule(rule, view_func=view, endpoint=view.__name__, methods=["GET"])
    add_raw(blueprint, openings)
    blueprint.register_error_handler(AskFailed, pages.trouble)
    blueprint.register_error_handler(FdssError, pages.trouble)
    blueprint.register_error_handler(StillOpening, pages.waiting)
    return blueprint


class _Pages:
    """The views that answer with a page."""

    def __init__(self, router: Router, openings: Openings) -> None:
        self._router = router
        self._openings = openings

    def servers(self) -> Response:
        """Show the servers of the cluster."""
        known = [(_label(each.member), each) for each in self._router.knowledge.servers()]
        return render("explore.html", servers=sorted(known, key=lambda one: one[0].casefold()))

    def datasets(self, server_id: str) -> Response:
        """Show what a server has."""
        label = self._label(server_id)
        known = self._router.knowledge.get(server_id)
        # What the router heard last is at hand; the server itself may be slow.
        heard = known.offer if known and "fresh" not in request.args else None
        return render(
            "explore_datasets.html",
            label=label,
            server=known,
            is_fresh=heard is None,
            fresh_url=server_url(server_id, fresh=1),
            listing=self._listing(server_id, heard or self._asked_offer(server_id)),
            sources=SOURCES,
        )

    def rows(self, server_id: str) -> Response:
        """Show a page of rows."""
        place = Place.of(server_id, request.args)
        page = self._page(place, TABLE)
        known = self._router.knowledge.get(server_id)
        return render(
            "explore_rows.html",
            label=self._label(server_id),
            page=page,
            place=place,
            limits=LIMITS,
            splits=siblings(server_id, known.offer if known else None, place.arguments),
        )

    def row(self, server_id: str) -> Response:
        """Show one row."""
        place = replace(Place.of(server_id, request.args), limit=1)
        page = self._page(place, WHOLE)
        if not page.lines:
            raise NotFound("The dataset has no rows.")
        return render(
            "explore_row.html",
            label=self._label(server_id),
            page=page,
            place=place,
            line=page.lines[0],
            rows_url=place.rows_url(limit=LIMITS[0], first=0),
        )

    def trouble(self, error: AskFailed | FdssError) -> Response:
        """Show what did not work, and where to go from there."""
        server_id = (request.view_args or {}).get("server_id", "")
        try:
            label = self._label(server_id) if server_id else ""
        except FdssError:
            label = ""
        trouble = trouble_of(error)
        response = render(
            "explore_trouble.html",
            trouble.status,
            trouble=trouble,
            label=label,
            server_id=server_id,
            again_url=request.full_path.rstrip("?"),
            columns=self._single_columns(server_id) if trouble.is_large else (),
        )
        if trouble.status == 503:
            response.headers["Retry-After"] = str(REFRESH_S)
        return response

    def waiting(self, error: StillOpening) -> Response:
        """Show that a dataset is being opened, and ask again by itself."""
        server_id = (request.view_args or {})["server_id"]
        label = self._label(server_id)
        place = Place.of(server_id, request.args)
        response = render(
            "explore_opening.html", 202, error=error, label=label, place=place, every_s=REFRESH_S
        )
        response.headers["Refresh"] = str(REFRESH_S)
        return response

    def _label(self, server_id: str) -> str:
        return _label(self._router.member(server_id))

    def _listing(self, server_id: str, offer: Offer) -> Listing:
        query = request.args.get("q", "").strip()[:MOST_CHARACTERS]
        page = number(request.args, "page", MOST_PAGES) or 1
        return listing(server_id, offer, request.args.get("source", ""), query, page)

    def _asked_offer(self, server_id: str) -> Offer:
        ask = self._router.proxy.ask
        local, cache, loaded = (ask(server_id, kind) for kind in ("local", "cache", "datasets"))
        return Offer.from_answers(local, cache, loaded)

    def _page(self, place: Place, fold: Fold) -> Page:
        opened = self._openings.opened(place.server_id, place.arguments)
        check_position(place.position, opened)
        opened, sent = self._openings.rows(
            place.server_id,
            place.arguments,
            position=place.position,
            limit=place.limit,
            seed=place.seed,
            columns=asked_names(wanted_columns(place, opened), opened),
        )
        return page_of(place, opened, sent, fold)

    def _single_columns(self, server_id: str) -> tuple[tuple[str, str], ...]:
        """Return the names of the columns of this page and where each of them is alone."""
        place = Place.of(server_id, request.args)
        opened = self._openings.opened(server_id, place.arguments)
        numbers = wanted_columns(replace(place, only=None), opened)
        return tuple(
            (shortened(opened.column_names[at], MOST_NAME), place.rows_url(only=at, first=0))
            for at in numbers
        )


def _label(member: Member) -> str:
    return visible(member.label or member.base_url)
