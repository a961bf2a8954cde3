"""A session with one server: its URL, token, connections, and errors as typed exceptions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.utils import get_environ_proxies
from urllib3.exceptions import ProtocolError

from fdss import __version__, tokens
from fdss.errors import AuthenticationRequired, ServerUnreachable, SettingError
from fdss.hosts import is_loopback
from fdss.tokens import TOKEN_VARIABLE

from .answers import error_of, json_of
from .connections import BreakableAdapter, Hold

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
ROOTS_VARIABLE = "REQUESTS_CA_BUNDLE"


class ServerSession:
    """Requests to one server over connections that are kept.

    The connections belong to a process: after a fork, and where it is unpickled, a session makes
    its own. Threads may share it. Of the environment it takes the proxy variables (never for a
    loopback host: a tunnel ends there) and ``REQUESTS_CA_BUNDLE``; a ``.netrc`` is not read,
    as it would replace the token.

    Attributes:
        url: The server's URL, without a slash at its end.
        timeout_s: Longest wait for the next byte of an answer, in seconds.
    """

    def __init__(
        self, url: str, token: str | None = None, timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        """Take the server's URL; nothing is sent yet.

        Args:
            url: http or https; a path in front of ``/v1`` is kept.
            token: Bearer token; None looks for one (environment, then this machine's token file
                for a loopback URL) when the first request is sent.
            timeout_s: Longest wait for the next byte of an answer, in seconds.

        Raises:
            SettingError: The URL or the token is malformed.
        """
        self.url = checked_url(url)
        self.timeout_s = timeout_s
        self._token = _checked_token(token)
        self._found_token: str | None = None
        self._is_local = is_loopback(urlsplit(self.url).hostname or "")
        self._sessions: dict[int, requests.Session] = {}

    def __repr__(self) -> str:
        return f"ServerSession({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ServerSession, (self.url, self._token, self.timeout_s)

    def get_json(self, path: str) -> dict[str, Any]:
        """Return the JSON object a path answers with.

        Raises:
            FdssError: The class the answer's code or status names.
            ServerUnreachable: No answer came.
            PageForeign: The answer is not that of a dataset server.
        """
        return self._json(requests.Request("GET", self.url + path), self.timeout_s)

    def post_json(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Return the JSON object a path answers with to a JSON body; errors as in ``get_json``.

        Args:
            timeout_s: Longest wait for the answer, in seconds; None for the session's.
        """
        request = requests.Request("POST", self.url + path, json=dict(body))
        return self._json(request, self.timeout_s if timeout_s is None else timeout_s)

    def stream(
        self,
        path: str,
        parameters: Mapping[str, str | int],
        *,
        headers: Mapping[str, str],
        hold: Hold,
    ) -> requests.Response:
        """Return an answer of status 200 whose body is still to be read; errors as in ``get_json``.

        The caller closes it.

        Args:
            hold: Breaks the request off from another thread.
        """
        request = requests.Request(
            "GET", self.url + path, params=dict(parameters), headers=dict(headers)
        )
        with hold.claiming():
            return self._answer(request, self.timeout_s)

    def close(self) -> None:
        """Close this process's idle connections; the session can still be used."""
        session = self._sessions.pop(os.getpid(), None)
        if session is not None:
            session.close()

    def _json(self, request: requests.Request, timeout_s: float) -> dict[str, Any]:
        asked = f"{request.method} {request.url}"
        with contextlib.closing(self._answer(request, timeout_s)) as response:
            try:
                return json_of(response, asked)
            except requests.RequestException as exc:
                raise ServerUnreachable(
                    f"{asked} broke off in the middle of the answer: {_reason(exc)}."
                ) from exc

    def _answer(self, request: requests.Request, timeout_s: float) -> requests.Response:
        try:
            return self._answer_once(request, timeout_s)
        except AuthenticationRequired:
            # The token may have been changed under a job that runs for weeks.
            if not self._finds_another_token():
                raise
            return self._answer_once(request, timeout_s)

    def _finds_another_token(self) -> bool:
        found = None if self._token else _checked_token(tokens.find(self.url, None))
        if found is None or found == self._found_token:
            return False
        self._found_token = found
        self.close()
        return True

    def _answer_once(self, request: requests.Request, timeout_s: float) -> requests.Response:
        asked = f"{request.method} {request.url}"
        session = self._session()
        prepared = session.prepare_request(request)
        try:
            response = _sent(session, prepared, (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s))
        except requests.RequestException as exc:
            raise self._unreachable(asked, exc, timeout_s) from exc
        except OSError as exc:
            raise SettingError(
                f"{asked} cannot use the certificates of {ROOTS_VARIABLE}: {exc}",
                hint=f"name a PEM file in {ROOTS_VARIABLE}, or unset it",
            ) from exc
        if response.status_code == 200:
            return response
        with contextlib.closing(response):
            error = error_of(response, asked)
        if isinstance(error, AuthenticationRequired):
            hint = self._token_hint() or error.hint
            was_sent = "Authorization" in session.headers
            is_general = was_sent and hint == AuthenticationRequired.default_hint
            error.hint = (
                f"the token that was sent is not the server's: {hint}" if is_general else hint
            )
        raise error

    def _session(self) -> requests.Session:
        # A connection that two processes use gives one of them the other's answers.
        process = os.getpid()
        session = self._sessions.get(process)
        return session or self._sessions.setdefault(process, self._new_session())

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.headers.update(
            {
                "User-Agent": f"fdss-client/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            }
        )
        token = self._bearer()
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        if not self._is_local:
            session.proxies.update(get_environ_proxies(self.url))
        session.verify = os.environ.get(ROOTS_VARIABLE) or True
        for scheme in ("http://", "https://"):
            session.mount(scheme, BreakableAdapter())
        return session

    def _bearer(self) -> str | None:
        if self._token is None and self._found_token is None:
            self._found_token = _checked_token(tokens.find(self.url, None))
        return self._token or self._found_token

    def _token_hint(self) -> str:
        if self._token is not None or os.environ.get(TOKEN_VARIABLE) or not self._is_local:
            return ""
        if self._found_token is None:
            return f"this machine keeps no token of that server: set {TOKEN_VARIABLE} to it"
        return (
            f"this machine's token file does not fit; if {self.url} is a tunnel,"
            f" set {TOKEN_VARIABLE} to the token of the server at its end"
        )

    def _unreachable(
        self, asked: str, exc: requests.RequestException, timeout_s: float
    ) -> ServerUnreachable:
        hint = "check the URL, and that the server runs (fdss start); fdss status asks it"
        if isinstance(exc, requests.exceptions.SSLError):
            hint = f"name the certificate authority's PEM file in {ROOTS_VARIABLE}"
        elif isinstance(exc, requests.exceptions.ProxyError):
            hint = "check HTTP_PROXY and HTTPS_PROXY, or name the host in NO_PROXY"
        if isinstance(exc, requests.exceptions.ConnectTimeout):
            reason = f"no connection within {min(CONNECT_TIMEOUT_S, timeout_s):g} s"
        elif isinstance(exc, requests.exceptions.Timeout):
            reason = f"no answer within {timeout_s:g} s"
            if self.url.startswith("https:"):
                hint = "a server without TLS does not answer https: try http:// in the URL"
        else:
            reason = _reason(exc)
        return ServerUnreachable(
            f"Could not reach dataset server at {self.url}: {reason} ({asked}).", hint=hint
        )


def checked_url(url: str) -> str:
    """Return a server's URL without a slash at its end.

    Raises:
        SettingError: It is not http or https, names no host, or holds credentials or a query.
    """
    given = url.strip()
    try:
        parts = urlsplit(given)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        shown = given.rpartition("@")[2].partition("?")[0]
        raise SettingError(
            f"{shown!r} is not the URL of a dataset server.", hint="write http://HOST:PORT"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingError(
            f"The URL of the dataset server at {parts.hostname} holds credentials or a query.",
            hint=f"write http://HOST:PORT, and the token in {TOKEN_VARIABLE}",
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _checked_token(token: str | None) -> str | None:
    stripped = (token or "").strip()
    if not stripped or tokens.is_sendable(stripped):
        return stripped or None
    raise SettingError("The token holds white space, or characters beyond visible ASCII.")


def _sent(
    session: requests.Session, prepared: requests.PreparedRequest, timeouts_s: tuple[float, float]
) -> requests.Response:
    try:
        return _sent_once(session, prepared, timeouts_s)
    except requests.ConnectionError as exc:
        # The server may close a kept connection in the moment it is used again.
        if not (exc.args and isinstance(exc.args[0], ProtocolError)):
            raise
        return _sent_once(session, prepared, timeouts_s)


def _sent_once(
    session: requests.Session, prepared: requests.PreparedRequest, timeouts_s: tuple[float, float]
) -> requests.Response:
    return session.send(
        prepared,
        stream=True,
        timeout=timeouts_s,
        allow_redirects=False,
        verify=session.verify,
        proxies=dict(session.proxies),
    )


def _reason(exc: BaseException) -> str:
    """Return the operating system's or the transport's words for what lies at the bottom."""
    deepest: BaseException | None = exc
    while deepest is not None:
        if isinstance(deepest, OSError) and deepest.strerror:
            return str(deepest.strerror)
        last, deepest = deepest, deepest.__cause__ or deepest.__context__
    return str(last) or type(last).__name__
