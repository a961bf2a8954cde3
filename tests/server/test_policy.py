"""What a client may load, and above all what it may not."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from fdss.arguments import LoadArguments
from fdss.config import ServerConfig
from fdss.data_files import is_device, is_inside
from fdss.errors import (
    BadParameter,
    BuilderRefused,
    DataFilesRefused,
    FdssError,
    HubDisabled,
    PathsDisabled,
    UnknownLocal,
)
from fdss.policy import PACKAGED_BUILDERS, grant
from fdss.storage import Folder, Named


def _grant(config: ServerConfig, path: str, **arguments: Any) -> tuple[str, Folder | Named]:
    granted = grant(LoadArguments.from_json({"path": path, **arguments}), config)
    return granted.source, granted.location


def test_a_named_local_is_always_allowed(config: ServerConfig) -> None:
    """A named local needs no flag, and is its folder."""
    locked = replace(config, no_hf=True)

    assert _grant(locked, "local/rows") == ("local", Folder(config.local["rows"]))


@pytest.mark.parametrize(
    "path", ["squad", "allenai/c4", "a/b.c_d-e", "0x22almostEvil/x", "HuggingFaceTB/smollm-corpus"]
)
def test_a_hub_id_is_allowed_by_default(config: ServerConfig, path: str) -> None:
    """What follows the Hub's grammar is a Hub id, unless the Hub is switched off."""
    assert _grant(config, path) == ("hf", Named(path))
    with pytest.raises(HubDisabled):
        _grant(replace(config, no_hf=True), path)


ABSOLUTE = [
    "/",
    "/etc/passwd",
    "/etc",
    "/does/not/exist",
    "//server/share",
    "~",
    "~/data",
    "~root/data",
    "C:/data",
    "c:\\data",
    "C:data",
    "\\\\server\\share",
    "\\data",
    "C:",
    "c:rows",
    "a:stream",
    "\\\\?\\C:\\data",
    "\\\\.\\pipe\\x",
    "//?/C:/data",
    "//./PhysicalDrive0",
]


@pytest.mark.parametrize("path", ABSOLUTE)
def test_absolute_paths_are_refused_whether_or_not_they_exist(
    config: ServerConfig, path: str
) -> None:
    """Nothing about the answer tells whether the path exists."""
    with pytest.raises(PathsDisabled):
        _grant(config, path)


@pytest.mark.parametrize("builder", sorted(PACKAGED_BUILDERS | {"Text", "JSON"}))
def test_file_formats_are_no_datasets(config: ServerConfig, builder: str) -> None:
    """A packaged builder reads any file, so its name is refused, however it is spelled."""
    for data_files in (None, "/etc/passwd", "https://example.org/x", "inside.json"):
        with pytest.raises((BuilderRefused, DataFilesRefused)):
            _grant(config, builder, data_files=data_files)


@pytest.mark.parametrize(
    "path",
    [
        "json ",
        " json",
        "text/",
        "./text",
        "text.py",
        "Json.PY",
        "te\u212at",
        "text\u200b",
        "\uff4ason",
    ],
)
def test_what_looks_like_a_file_format_is_nothing(config: ServerConfig, path: str) -> None:
    """A spelling that some library might take for a builder's is no Hub id either."""
    with pytest.raises(BadParameter):
        _grant(config, path, data_files="inside.json")


def test_every_packaged_builder_is_known() -> None:
    """The installed datasets has no packaged builder that is not refused."""
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    assert set(_PACKAGED_DATASETS_MODULES) <= PACKAGED_BUILDERS


@pytest.mark.parametrize(
    "path",
    [
        "../data",
        "./data",
        ".",
        "..",
        "...",
        "a/../../etc",
        "a/b/c",
        "a//b",
        "a/",
        "/".join("ab") + "/",
        " /etc",
        "a b",
        "-a",
        "a-",
        ".a",
        "a.",
        "a--b",
        "a..b",
        "ns/.git",
        "ns/repo.git",
        "a\\b",
        "ab:c",
        "a" * 97,
        "local",
        "local/",
        "buckets/x",
        "file:/etc/passwd",
        "file:///etc/passwd",
        "http://example.org/x",
        "https://example.org/x.json",
        "hf://datasets/squad",
        "s3://bucket/x",
        "zip://x::/etc/x.zip",
        "a\0b",
        "/etc\0",
        "a\nb",
        "\ud800",
        "naïve",
        "PROGRA~1",
        "PROGRA~1/x",
        "rows:stream",
        "rows::$DATA",
        "%2e%2e",
        "%2e%2e/etc",
        "%2Fetc",
        "\uff0fetc",
        "\uff0e\uff0e/etc",
        "\u2024\u2024/etc",
        "\u2215etc",
        "\u2044etc",
        "a\uff0fb",
        "cafe\u0301",
        "\u202ecte",
        "a\u200bb",
        "\u0441at/x",
        "\udc80",
        "\ufeffa",
        "a.py",
        "ns/a.py",
        "a%2fb",
        "$HOME/data",
        "a@main",
    ],
)
def test_what_is_nothing_is_refused(config: ServerConfig, path: str) -> None:
    """What is neither local, absolute nor a Hub id is malformed, with every flag there is."""
    every: dict[str, Any] = {"allow_paths": True, "allow_downloads": True}
    for flags in ({}, every):
        with pytest.raises(BadParameter):
            _grant(replace(config, **flags), path)


@pytest.mark.parametrize("name", ["other", "rows/", "rows/..", "../rows", "rows/x", "Rows", "/etc"])
def test_an_unknown_local_is_not_found(config: ServerConfig, name: str) -> None:
    """A local is looked up by its whole name, never joined to a path."""
    with pytest.raises(UnknownLocal):
        _grant(replace(config, allow_paths=True), f"local/{name}")


OUTSIDE = [
    "/etc/passwd",
    "//etc/passwd",
    "~/.ssh/id_rsa",
    "../secret.json",
    "a/../../secret.json",
    "a/..",
    "..",
    "[.][.]/secret",
    "[.]./secret",
    "{..}/secret",
    "[/]etc/passwd",
    " /etc/passwd",
    "a\\..\\..\\secret",
    "\\etc\\passwd",
    "\\\\server\\share\\x",
    "C:/secret",
    "C:secret",
    "file:/etc/passwd",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data",
    "https://example.org/x.json",
    "HTTPS://example.org/x.json",
    "hf://datasets/other/x.json",
    "s3://bucket/x",
    "ftp://example.org/x",
    "zip://x.json::http://example.org/x.zip",
    "zip://x.json::/etc/x.zip",
    "simplecache::file:///etc/passwd",
    "data/*.json::x",
    "memory://x",
    " file:/etc/passwd",
    "..%2fsecret",
    "%2e%2e/secret",
    "%2Fetc/passwd",
    "\uff0e\uff0e/secret",
    "\u2024\u2024/secret",
    "\uff0fetc/passwd",
    "\u202e/../secret",
    "a/.. /secret",
    "a/. ./secret",
    "a/... /secret",
    "**/..",
    "**/../*",
    "[..]/secret",
    "{../,}secret",
    "data:text/plain,x",
    "abfs://x",
    "git://x",
    "reference://::/etc/passwd",
    "dir::/etc",
]


@pytest.mark.parametrize("pattern", OUTSIDE)
@pytest.mark.parametrize("path", ["local/rows", "allenai/c4"])
def test_data_files_never_lead_out_of_the_dataset(
    config: ServerConfig, path: str, pattern: str
) -> None:
    """Neither alone, nor in a list, nor by split, nor behind a harmless pattern."""
    for data_files in (
        pattern,
        ["data/*.json", pattern],
        {"train": pattern},
        {"t": ["a", pattern]},
    ):
        with pytest.raises(DataFilesRefused):
            _grant(config, path, data_files=data_files)


@pytest.mark.parametrize(
    "pattern",
    [
        "data.json",
        "data/*.json",
        "**/*.parquet",
        "data/train-[0-9]*.arrow",
        "a..b/x..y",
        "ünder.json",
    ],
)
def test_data_files_inside_the_dataset_are_allowed(config: ServerConfig, pattern: str) -> None:
    """Relative patterns need no flag."""
    for data_files in (pattern, [pattern, "b"], {"train": pattern, "test.a": [pattern]}):
        assert _grant(config, "local/rows", data_files=data_files)[0] == "local"


@pytest.mark.parametrize(
    "data_files",
    [
        "a\0b",
        "a\nb",
        " ",
        [""],
        "x" * 5000,
        ["x"] * 1001,
        {"../split": "x"},
        {"": "x"},
        {"a/b": "x"},
        {"x" * 300: "x"},
        {"\ud800": "x"},
        {f"split{number}": [] for number in range(1001)},
    ],
)
def test_malformed_data_files_are_refused(config: ServerConfig, data_files: Any) -> None:
    """Odd characters, empty patterns, too many of them, and split names that are none or long."""
    with pytest.raises(BadParameter):
        _grant(config, "local/rows", data_files=data_files)


@pytest.mark.parametrize(
    ("pattern", "flags", "allowed"),
    [
        ("/data/x.json", {"allow_paths": True}, True),
        ("../x.json", {"allow_paths": True}, True),
        ("https://example.org/x.json", {"allow_paths": True}, False),
        ("https://example.org/x.json", {"allow_downloads": True}, True),
        ("hf://datasets/a/b/x.json", {"allow_downloads": True}, True),
        ("/data/x.json", {"allow_downloads": True}, False),
        ("file:///data/x.json", {"allow_downloads": True}, False),
        ("zip://x::https://example.org/x.zip", {"allow_downloads": True}, False),
        ("https://a/x::file:///etc/passwd", {"allow_downloads": True}, False),
        ("zip://x::/x.zip", {"allow_downloads": True, "allow_paths": True}, True),
    ],
)
def test_flags_open_what_they_name(
    config: ServerConfig, pattern: str, flags: dict[str, Any], allowed: bool
) -> None:
    """--allow-paths opens paths, --allow-downloads addresses, and neither opens the other."""
    changed = replace(config, **flags)
    if allowed:
        assert _grant(changed, "local/rows", data_files=pattern)[0] == "local"
    else:
        with pytest.raises(DataFilesRefused):
            _grant(changed, "local/rows", data_files=pattern)


def test_allowed_paths_and_builders_are_paths(config: ServerConfig, tmp_path: Path) -> None:
    """With --allow-paths folders and packaged builders load, also without the Hub."""
    changed = replace(config, allow_paths=True, no_hf=True)

    assert _grant(changed, str(tmp_path)) == ("path", Folder(tmp_path))
    assert _grant(changed, "~/data") == ("path", Folder(Path.home() / "data"))
    assert _grant(changed, "json", data_files="/x.json") == ("path", Named("json"))


@pytest.mark.only_on("linux", "darwin")
@pytest.mark.parametrize("path", ["C:/data", "c:\\data", "\\data", "~nobody-of-that-name/x"])
def test_paths_of_another_system_are_never_relative(config: ServerConfig, path: str) -> None:
    """A path that is not absolute here is refused, not looked up in the working directory."""
    with pytest.raises(FdssError):
        _grant(replace(config, allow_paths=True), path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../x"),
        ("name", "a/b"),
        ("name", "a\\b"),
        ("name", ".."),
        ("name", "a*"),
        ("name", "a\0"),
        ("name", "x" * 5000),
        ("revision", "../main"),
        ("revision", "a/../b"),
        ("revision", "-main"),
        ("revision", "/main"),
        ("revision", "a//b"),
        ("revision", "a b"),
        ("revision", "main\n"),
        ("revision", "x" * 256),
        ("revision", "refs/./x"),
        ("split", "train\0"),
        ("split", "x" * 5000),
    ],
)
def test_other_arguments_are_checked(config: ServerConfig, field: str, value: str) -> None:
    """A configuration, a revision and a split are no way to a file either."""
    with pytest.raises(BadParameter):
        _grant(config, "allenai/c4", **{field: value})


@pytest.mark.parametrize(
    "revision",
    ["main", "v1.0", "refs/convert/parquet", "refs/pr/1", "0123456789abcdef" * 2 + "01234567"],
)
def test_revisions_are_branches_tags_and_commits(config: ServerConfig, revision: str) -> None:
    """What git calls a revision is one."""
    assert _grant(config, "allenai/c4", name="en.noblocklist", revision=revision)[0] == "hf"


def test_a_million_patterns_are_refused_at_once(config: ServerConfig) -> None:
    """However many there are, they are counted and not looked at."""
    for data_files in (["x"] * 1_000_000, dict.fromkeys(map(str, range(1_000_000)), ["x"])):
        with pytest.raises(BadParameter, match="more than 1000"):
            _grant(config, "local/rows", data_files=data_files)


@pytest.mark.parametrize("data_files", [[["x"]], {"a": {"b": "x"}}, [None], {"a": 1}, 7, True])
def test_data_files_of_another_shape_are_refused(config: ServerConfig, data_files: Any) -> None:
    """Patterns are texts, in a list or by split, and nothing deeper."""
    with pytest.raises(BadParameter):
        _grant(config, "local/rows", data_files=data_files)


def test_every_protocol_of_fsspec_is_an_address(config: ServerConfig) -> None:
    """No protocol that fsspec knows, alone or chained to a file, is a pattern inside a dataset."""
    protocols = {*import_module("fsspec.registry").known_implementations, "hf"}
    assert len(protocols) > 30
    for protocol in protocols:
        for pattern in (f"{protocol}://x", f"{protocol}::x", f"{protocol.upper()}://x/*.json"):
            with pytest.raises(DataFilesRefused):
                _grant(config, "local/rows", data_files=pattern)
            with pytest.raises(FdssError):
                _grant(config, pattern)


DEVICES = ["CON", "nul", "Aux.json", "com1", "LPT9.txt", "con .x", "NUL:", "conin$", "com\u00b9"]


@pytest.mark.parametrize("name", DEVICES)
def test_devices_of_windows_are_no_files(
    config: ServerConfig, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows a name that stands for a device everywhere is neither a file nor a revision."""
    monkeypatch.setattr("fdss.data_files.os.name", "nt")
    refused = {is_device(name), not is_inside(name), not is_inside(f"data/{name}")}
    monkeypatch.undo()

    assert refused == {True}
    assert not is_device(name)
    assert not is_device("console.json")
