"""The application: the gate, the shape of errors, the endpoints around the rows."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fdss.app import create_app
from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.errors import DatasetDamaged, SettingError, Unavailable
from fdss.policy import Grant
from fdss.settings import BY_KEY

ErrorCheck = Callable[[TestResponse, int, str], None]
ClientMaker = Callable[..., FlaskClient]

GATED = [
    ("GET", "/v1/datasets"),
    ("GET", "/v1/datasets/0123456789abcdef"),
    ("GET", "/v1/datasets/0123456789abcdef/length"),
    ("GET", "/v1/datasets/0123456789abcdef/iter"),
    ("POST", "/v1/load"),
    ("GET", "/v1/cache/hf"),
    ("GET", "/v1/local"),
    ("GET", "/v1/openapi.json"),
    ("GET", "/v1/ready"),
    ("GET", "/metrics"),
    ("GET", "/unknown"),
    ("GET", "/v1/health/"),
    ("GET", "//v1/datasets"),
    ("GET", "/"),
    ("DELETE", "/v1/datasets"),
    ("OPTIONS", "/v1/load"),
    ("HEAD", "/v1/local"),
]


def test_every_endpoint_is_listed_here(config: ServerConfig) -> None:
    """No endpoint is added without a line in the list of those behind the gate, or open."""
    app = create_app(config, Catalog(config))
    listed = {path.replace("0123456789abcdef", "<handle>") for _, path in GATED}

    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert rules - listed == {"/v1/health", "/v1/auth/status"}


@pytest.mark.parametrize(("method", "path"), GATED)
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer test-token2",
        "Bearer test-toke",
        "Bearer gr\u00fc\u00dfe",
        "Basic test-token",
        "test-token",
        "Bearer test-token, Bearer test-token",
    ],
)
def test_nothing_but_open_paths_answers_without_the_token(
    client: FlaskClient, method: str, path: str, header: str | None
) -> None:
    """Any request without the right token is a 401, also for paths that do not exist."""
    client.environ_base.pop("HTTP_AUTHORIZATION")
    headers = {} if header is None else {"Authorization": header}
    response = client.open(path, method=method, headers=headers)

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="forgather-dataset"'


def test_the_401_has_the_shape_of_errors(
    client: FlaskClient, assert_error_shape: ErrorCheck
) -> None:
    """The refusal is JSON with a code, and says what to do."""
    client.environ_base.pop("HTTP_AUTHORIZATION")
    response = client.get("/v1/datasets")

    assert_error_shape(response, 401, "authentication-required")
    assert "FORGATHER_DATASET_SERVER_TOKEN" in response.get_json()["hint"]


@pytest.mark.parametrize(
    "header",
    [
        "Bearer test-token",
        "Bearer\ttest-token",
        "bearer test-token",
        "BEARER  test-token ",
        "bEaReR test-token",
    ],
)
def test_the_scheme_has_no_case(client: FlaskClient, header: str) -> None:
    """The scheme may be written in any case, spaces around the token do not count."""
    assert client.get("/v1/datasets", headers={"Authorization": header}).status_code == 200


def test_a_token_in_the_query_is_none(client: FlaskClient) -> None:
    """Tokens are taken from the header only; URLs stand in logs."""
    client.environ_base.pop("HTTP_AUTHORIZATION")

    assert client.get("/v1/datasets?token=test-token").status_code == 401


def test_no_auth_lets_everybody_in(make_client: ClientMaker) -> None:
    """Without authentication no header is asked for, and the open endpoints say so."""
    client = make_client(auth_token=None, no_auth=True)
    client.environ_base.pop("HTTP_AUTHORIZATION")

    assert client.get("/v1/datasets").status_code == 200
    assert client.get("/v1/auth/status").get_json() == {"auth_required": False}


def test_an_app_without_token_is_never_open() -> None:
    """A configuration with neither token nor no_auth makes no application."""
    with pytest.raises(SettingError):
        create_app(ServerConfig(), Catalog(ServerConfig()))


def test_health_tells_service_and_policy(client: FlaskClient) -> None:
    """The open health check has exactly these fields."""
    client.environ_base.pop("HTTP_AUTHORIZATION")

    assert client.get("/v1/health").get_json() == {
        "status": "ok",
        "service": "forgather-dataset-server",
        "version": "1.0.0",
        "policy": {
            "auth_required": True,
            "hf_cache_enabled": True,
            "allow_paths": False,
            "allow_downloads": False,
            "local_count": 1,
        },
        "load": {"streams": 0, "bytes_per_s": 0},
    }


def test_a_load_returns_all_about_the_dataset(client: FlaskClient) -> None:
    """A load answers with the handle and everything a client needs, and no path."""
    body = client.post("/v1/load", json={"path": "local/rows"}).get_json()

    assert body == {
        "handle": LoadArguments("local/rows").handle,
        "length": 100,
        "source": "local",
        "load_args": {"path": "local/rows", "split": "train"},
        "column_names": ["number", "text, or so"],
        "fingerprint": "f" * 64,
        "features": {"number": {"_type": "Value"}, "text, or so": {"_type": "Value"}},
    }
    assert list(body["features"]) == body["column_names"]
    assert client.get(f"/v1/datasets/{body['handle']}").get_json() == body
    assert client.get(f"/v1/datasets/{body['handle']}/length").get_json() == {"length": 100}
    assert client.get("/v1/datasets").get_json() == {
        "handles": [
            {key: body[key] for key in ("handle", "length", "source", "load_args", "fingerprint")}
        ]
    }


def test_the_same_arguments_have_the_same_handle(client: FlaskClient) -> None:
    """An absent split is its default, null is absent, other fields do not count."""
    bodies: list[dict[str, Any]] = [
        {"path": "local/rows"},
        {"path": "local/rows", "split": "train", "name": None, "data_files": None},
        {"path": "local/rows", "num_proc": 4, "force_reindex": True},
    ]
    handles = {client.post("/v1/load", json=body).get_json()["handle"] for body in bodies}

    assert len(handles) == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "bad-request"),
        (b"{", "bad-request"),
        (b"[]", "bad-request"),
        (b'"local/rows"', "bad-request"),
        (b"[" * 100_000, "bad-request"),
        (b"\xff\xfe", "bad-request"),
        (b'{"path": NaN}', "bad-request"),
        (b"{}", "bad-parameter"),
        (b'{"path": ""}', "bad-parameter"),
        (b'{"path": 7}', "bad-parameter"),
        (b'{"path": ["local/rows"]}', "bad-parameter"),
        (b'{"path": "local/rows", "split": 1}', "bad-parameter"),
        (b'{"path": "local/rows", "data_files": 1}', "bad-parameter"),
        (b'{"path": "local/rows", "data_files": {"train": 1}}', "bad-parameter"),
        (b'{"path": "a\\u0000b"}', "bad-parameter"),
        (b'{"path": "\\ud800"}', "bad-request"),
    ],
)
def test_a_malformed_load_is_a_400(
    client: FlaskClient, assert_error_shape: ErrorCheck, data: bytes, code: str
) -> None:
    """Whatever the body holds, a mistake of the client is never a 500."""
    response = client.post("/v1/load", data=data, content_type="application/json")

    assert_error_shape(response, 400, code)


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]
)
def test_a_body_that_says_it_is_no_json_is_a_415(
    client: FlaskClient, assert_error_shape: ErrorCheck, content_type: str
) -> None:
    """What a web form can send is not taken for JSON."""
    response = client.post("/v1/load", data=b'{"path": "local/rows"}', content_type=content_type)

    assert_error_shape(response, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "application/json; charset=utf-8"]
)
def test_json_may_be_said_or_not(client: FlaskClient, content_type: str | None) -> None:
    """A missing content type is taken for JSON."""
    response = client.post("/v1/load", data=b'{"path": "local/rows"}', content_type=content_type)

    assert response.status_code == 200


def test_a_large_body_is_a_413(client: FlaskClient, assert_error_shape: ErrorCheck) -> None:
    """A body of more than a mebibyte is not read."""
    response = client.post(
        "/v1/load",
        data=b" " * (BY_KEY["max_body_bytes"].default + 1),
        content_type="application/json",
    )

    assert_error_shape(response, 413, "body-too-large")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("local/other", 404, "unknown-local"),
        ("local/", 400, "bad-parameter"),
        ("/etc/passwd", 403, "paths-disabled"),
        ("/does/not/exist", 403, "paths-disabled"),
        ("text", 403, "builder-refused"),
        ("../x", 400, "bad-parameter"),
    ],
)
def test_the_policy_answers_with_its_status(
    client: FlaskClient, assert_error_shape: ErrorCheck, path: str, status: int, code: str
) -> None:
    """Each refusal has its own status and code."""
    assert_error_shape(client.post("/v1/load", json={"path": path}), status, code)


@pytest.mark.parametrize("tail", ["", "/length", "/iter"])
def test_an_unknown_handle_is_a_404(
    client: FlaskClient, assert_error_shape: ErrorCheck, tail: str
) -> None:
    """A handle that no load made is not found, and the sentence is the one clients know."""
    response = client.get(f"/v1/datasets/0123456789abcdef{tail}")

    assert_error_shape(response, 404, "unknown-handle")
    assert response.get_json()["error"] == "Unknown handle: 0123456789abcdef"


@pytest.mark.parametrize(
    "path", ["/", "/v2", "/v1/load/", "//v1/health", "/v1/datasets/a/b", "/docs"]
)
def test_an_unknown_path_is_a_404_in_json(
    client: FlaskClient, assert_error_shape: ErrorCheck, path: str
) -> None:
    """Paths that do not exist answer as everything else does, without a redirect."""
    assert_error_shape(client.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/load", {"POST"}),
        ("POST", "/v1/datasets", {"GET", "HEAD"}),
        ("DELETE", "/v1/health", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_a_405_that_says_which_are_right(
    client: FlaskClient, assert_error_shape: ErrorCheck, method: str, path: str, allowed: set[str]
) -> None:
    """The Allow header lists the methods of the path."""
    response = client.open(path, method=method)

    assert_error_shape(response, 405, "method-not-allowed")
    assert set(response.headers["Allow"].split(", ")) == allowed


def test_unavailable_says_when_to_ask_again(
    config: ServerConfig, assert_error_shape: ErrorCheck
) -> None:
    """A 503 carries Retry-After."""
    response = _loaded_with(config, Unavailable("Not now."))

    assert_error_shape(response, 503, "unavailable")
    assert response.headers["Retry-After"] == "5"


def test_an_unexpected_failure_tells_the_client_nothing(
    config: ServerConfig, assert_error_shape: ErrorCheck, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect is a 500 without details; the details are in the log, once."""
    response = _loaded_with(config, KeyError("/secret/path"))

    assert_error_shape(response, 500, "internal")
    assert b"secret" not in response.data
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_paths_are_taken_out_of_messages(config: ServerConfig) -> None:
    """What storage says of a named local reaches the client with the local's name."""
    folder = config.local["rows"]
    error = DatasetDamaged(
        f"File {str(folder / 'x.arrow')!r} is cut.", hint=f"look at {Path.home()}, not at {folder}2"
    )
    body = _loaded_with(config, error).get_json()

    assert body["error"] == "File 'local/rows/x.arrow' is cut."
    assert body["hint"] == f"look at ~, not at {folder}2"


def _loaded_with(config: ServerConfig, error: Exception) -> TestResponse:
    def opener(granted: Grant, arguments: LoadArguments) -> Any:
        raise error

    client = create_app(config, Catalog(config, opener=opener)).test_client()
    return client.post(
        "/v1/load", json={"path": "local/rows"}, headers={"Authorization": "Bearer test-token"}
    )


def test_local_lists_names_without_paths(make_client: ClientMaker, config: ServerConfig) -> None:
    """Named locals are listed by name; where they lie only with --show-paths."""
    folder = config.local["rows"]
    local = {"rows": folder, "a": folder}
    hidden = make_client(local=local).get("/v1/local")
    shown = make_client(local=local, show_paths=True).get("/v1/local").get_json()["local"]

    assert [entry["name"] for entry in hidden.get_json()["local"]] == ["a", "rows"]
    assert str(folder).encode() not in hidden.data
    assert [entry["path"] for entry in shown] == [str(folder)] * 2


def test_the_cache_is_listed_without_its_root(make_client: ClientMaker, home: Path) -> None:
    """The HF cache is listed; where it lies only with --show-paths."""
    hidden = make_client().get("/v1/cache/hf").get_json()
    shown = make_client(show_paths=True).get("/v1/cache/hf").get_json()

    assert hidden == {"cache_root": None, "datasets": []}
    assert shown["cache_root"] == str(home / ".cache" / "huggingface" / "datasets")


def test_each_request_is_one_line_in_the_log(
    client: FlaskClient, handle: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The line has method, path, status, handle, rows, bytes and seconds."""
    caplog.set_level(logging.INFO)
    response = client.get(f"/v1/datasets/{handle}/iter?position=90&seed=7")
    size = len(response.data)
    response.close()

    (line,) = [record.getMessage() for record in caplog.records]
    begin = f"GET /v1/datasets/{handle}/iter 200 handle={handle} rows=10 bytes={size} seconds="
    assert re.fullmatch(re.escape(begin) + r"\d+\.\d{3}", line)


def test_the_log_has_neither_tokens_nor_queries_nor_line_breaks(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing a client sends can write a line of its own, or leave a secret."""
    caplog.set_level(logging.DEBUG)
    client.get("/v1/x%0AFAKE?token=test-token").close()
    client.get("/v1/datasets/x%0AFAKE/iter?token=test-token").close()

    assert "test-token" not in caplog.text
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("GET /v1/x%0AFAKE 404 bytes=")
    assert second.startswith("GET /v1/datasets/x%0AFAKE/iter 404 handle=x%0AFAKE bytes=")
