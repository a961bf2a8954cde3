"""The registry file: what it holds, who may read it, and what becomes of a broken one."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from fdss.errors import NotFound, SettingError
from fdss.router.membership import (
    Member,
    checked_base_url,
    member_from_json,
    server_id_of,
)
from fdss.router.registry import Registry, RegistryDamaged, RegistryMembership

URL = "http://host.example:8766"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Return a registry that is not there yet."""
    return Registry(tmp_path / "server" / "registry.json")


def test_file_has_the_known_form(registry: Registry) -> None:
    """An entry is id, label, base_url, auth_token and verify_tls, in a list."""
    entry = registry.add(Member(URL, "secret", "one", verify_tls=False))

    assert json.loads(registry.path.read_text("utf-8")) == [
        {
            "id": entry.id,
            "label": "one",
            "base_url": URL,
            "auth_token": "secret",
            "verify_tls": False,
        }
    ]
    assert len(entry.id) == 8


@pytest.mark.only_on("linux", "darwin")
def test_file_is_private(registry: Registry) -> None:
    """The file has mode 0600 in a folder of mode 0700."""
    registry.add(Member(URL, "secret"))

    assert registry.path.stat().st_mode & 0o777 == 0o600
    assert registry.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.only_on("linux", "darwin")
def test_file_that_others_may_read_is_told(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """A router warns once of tokens that others may read; a server that is added mends it."""
    registry.add(Member(URL, "secret"))
    registry.path.chmod(0o644)
    membership = RegistryMembership(registry)

    membership.members()
    membership.members()

    assert caplog.text.count("chmod 600") == 1 and "secret" not in caplog.text
    registry.add(Member(URL, "secret"))
    assert registry.path.stat().st_mode & 0o777 == 0o600


def test_same_url_is_replaced(registry: Registry) -> None:
    """Adding a URL again keeps its id and replaces the rest."""
    first = registry.add(Member(URL, "old"))

    again = registry.add(Member(URL, "new"))

    (entry,) = registry.entries()
    assert (again.id, entry.id, entry.member.auth_token) == (first.id, first.id, "new")


@pytest.mark.parametrize("named", ["id", "server_id", "label", "url"])
def test_entry_is_removed_by_any_of_its_names(registry: Registry, named: str) -> None:
    """An entry goes by id, server id, label or URL; the others stay."""
    entry = registry.add(Member(URL, label="one"))
    other = registry.add(Member("http://other.example:1", label="two"))
    names = {"id": entry.id, "server_id": server_id_of(URL), "label": "one", "url": f"{URL}/"}

    registry.remove(names[named])

    assert registry.entries() == [other]


def test_name_that_does_not_fit_one_entry_is_refused(registry: Registry) -> None:
    """A name that no entry has, or several have, removes none."""
    registry.add(Member(URL, label="same"))
    registry.add(Member("http://other.example:1", label="same"))

    for name in ("same", "nobody"):
        with pytest.raises(NotFound, match=name):
            registry.remove(name)
    assert len(registry.entries()) == 2


def test_label_is_one_short_line_whatever_is_told() -> None:
    """What others announce can neither fill a page nor steer a terminal or a log."""
    labels = ["x" * 1_000, "a\x1b[31m\nb", "\ud800", {"a": 1}, None]
    told = [member_from_json({"base_url": URL, "label": label}, "redis") for label in labels]

    assert [member.label for member in told] == ["x" * 200, "a [31m b", URL, URL, URL]


def test_entry_of_older_versions_is_read(registry: Registry) -> None:
    """Without verify_tls a certificate is checked; without a token none is sent."""
    registry.path.parent.mkdir()
    registry.path.write_text(json.dumps([{"id": "1", "base_url": f"{URL}/"}]), "utf-8")

    (entry,) = registry.entries()

    assert entry.member == Member(URL, "", URL, verify_tls=True, source="registry")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[3]",
        '[{"base_url": 3}]',
        '[{"base_url": "ftp://host"}]',
        '[{"base_url": "http://h", "auth_token": "a b"}]',
        "[" * 100_000,
        "\x00",
    ],
)
def test_broken_file_stays_until_a_server_is_added(
    registry: Registry, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be understood is reported as often as it is read, then kept aside."""
    registry.path.parent.mkdir()
    registry.path.write_text(text, "utf-8")

    for use in (registry.entries, registry.entries, lambda: registry.remove("one")):
        with pytest.raises(RegistryDamaged, match="cannot be understood"):
            use()
    added = registry.add(Member(URL))

    aside = registry.path.with_name("registry.json.corrupt")
    assert aside.read_text("utf-8") == text
    assert registry.entries() == [added]
    assert str(aside) in caplog.text


def test_file_that_was_kept_aside_is_never_replaced(registry: Registry) -> None:
    """Each broken file is kept under a name of its own."""
    registry.path.parent.mkdir()
    for text in ("one", "two", "three"):
        registry.path.write_text(text, "utf-8")
        registry.add(Member(URL))

    kept = sorted(registry.path.parent.glob("*.corrupt*"))
    assert [file.read_text("utf-8") for file in kept] == ["one", "two", "three"]


def test_entries_added_at_once_are_all_kept(registry: Registry) -> None:
    """Sixteen that add a server each at the same time lose none of them."""
    barrier = threading.Barrier(16)

    def add(number: int) -> None:
        barrier.wait()
        registry.add(Member(f"http://host-{number}.example:1"))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(registry.entries()) == 16
    left = [name for name in os.listdir(registry.path.parent) if not name.endswith(".lock")]
    assert left == ["registry.json"]


@pytest.mark.parametrize(
    "url", ["", "host:1", "ftp://host", "http://", "http://u:p@host", "http://h?q", "http://h:x"]
)
def test_url_that_is_none_is_refused(url: str) -> None:
    """A URL without http, with credentials or with a query is refused, its password not shown."""
    with pytest.raises(SettingError) as refused:
        checked_base_url(url)
    assert "u:p" not in str(refused.value)


def test_server_id_is_that_of_every_router() -> None:
    """A server's id is the beginning of a hash of its URL without the last slash."""
    assert server_id_of("http://127.0.0.1:8766/") == server_id_of("http://127.0.0.1:8766")
    assert server_id_of("http://127.0.0.1:8766") == "68ee74ba248e"


def test_token_is_not_shown_by_accident(registry: Registry) -> None:
    """Neither a member nor an entry shows its token when it is printed."""
    entry: Any = registry.add(Member(URL, "secret-token"))

    assert "secret-token" not in f"{entry!r} {entry.member!r}"
