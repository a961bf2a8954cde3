"""docs/cluster.md says what the router is: its settings, endpoints, statuses and rhythms."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from fdss.errors import NobodyServes
from fdss.router.app import create_router_app
from fdss.router.collecting import COLLECT_S
from fdss.router.config import read_router_file
from fdss.router.knowledge import SUSPECTED_S, WARM_PATIENCE_S
from fdss.router.mdns import POLL_S as MDNS_POLL_S
from fdss.router.redis_members import BEAT_S, POLL_S as REDIS_POLL_S, TTL_S
from fdss.router.registry import POLL_S as REGISTRY_POLL_S
from fdss.router.resolving import PATIENCE_S
from fdss.router.router import Router
from fdss.router.settings import ROUTER_SETTINGS
from fdss.router.watching import Rhythm

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text("utf-8")


def _table(header: str) -> list[list[str]]:
    lines = PAGE.partition(f"{header}\n")[2].splitlines()[1:]
    rows: list[list[str]] = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    assert rows, f"no table under {header!r}"
    return rows


def test_settings_table_is_the_table_of_settings() -> None:
    """The page has every setting of the router with its flags, key, default and help."""
    expected = [
        [
            ", ".join(f"`{flag}`" for flag in reversed(setting.flags)),
            f"`{setting.key}`",
            "off" if setting.kind is bool else f"`{setting.default}`" if setting.default else "",
            setting.help,
        ]
        for setting in ROUTER_SETTINGS
    ]

    assert _table("| flag | key | default | what it does |") == expected


def test_endpoints_table_is_the_url_map() -> None:
    """The page has every endpoint of the router with its method, but for those of its web page."""
    app = create_router_app(Router([]), "token")
    served = {
        f"{method} {rule.rule.replace('<', '{').replace('>', '}')}"
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("web.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {row[0].strip("`") for row in _table("| endpoint | answer |")} == served


def test_example_of_the_section_is_accepted(tmp_path: Path) -> None:
    """The YAML example is a file that the router reads."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "config.yaml"
    file.write_text(example, "utf-8")

    assert read_router_file(str(file)).values == yaml.safe_load(example)["router"]


def test_figures_are_those_of_the_code() -> None:
    """The times in the page are the constants of the router."""
    rhythm = Rhythm()
    noticed = f"| noticed within | {REGISTRY_POLL_S:g} s | {MDNS_POLL_S:g} s | {REDIS_POLL_S:g} s |"

    assert noticed in PAGE
    assert (TTL_S, SUSPECTED_S, PATIENCE_S, COLLECT_S) == (10, 10, 10, 10)
    assert (WARM_PATIENCE_S, BEAT_S) == (2, 3)
    assert (rhythm.health_s, rhythm.health_timeout_s, rhythm.retry_s) == (10, 5, 1)
    assert (rhythm.refresh_s, rhythm.cold_refresh_s, rhythm.refresh_timeout_s) == (60, 10, 10)


def test_statuses_are_those_that_are_answered() -> None:
    """The table of statuses has the 410 of the code, the 503, and no 404."""
    statuses = [row[0][:3] for row in _table("| status | means | a client |")]

    assert statuses == ["200", "400", "401", str(NobodyServes.status), "503"]
