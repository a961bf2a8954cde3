"""A session with one server: its URL, token, connections, and errors as typed exceptions."""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
import warnings
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies
from urllib3.exceptions import InsecureRequestWarning

from fdss import __version__, tokens
from fdss.errors import AuthenticationRequired, BadRequest, ServerUnreachable, SettingError
from fdss.hosts import checked_server_url, is_loopback
from fdss.tls.trust import current_trust, unverified_context
from fdss.tokens import TOKEN_VARIABLE

from .answers import error_of, json_of
from .connections import BreakableAdapter, Hold, Session, answered, context_of
from .failures import Attempt, reason_of

READ_TIMEOUT_S = 60.0


class ServerSession:
    """Requests to one server over connections that are kept.

    The connections belong to a process: after a fork, and where it is unpickled, a session makes
    its own. Threads may share it. Of the environment it takes the proxy variables (never for a
    loopback host: a tunnel ends there) and what ``fdss.tls.trust`` names; a ``.netrc`` is not
    read, as it would replace the token.

    Over https nothing is sent before the server's certificate is verified, its name included.
    An authority that is imported while a job runs is trusted from the next new connection on.

    Attributes:
        url: The server's URL, without a slash at its end.
        timeout_s: Longest wait for the next byte of an answer, in seconds.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout_s: float = READ_TIMEOUT_S,
        *,
        insecure: bool = False,
    ) -> None:
        """Take the server's URL; nothing is sent yet.

        Args:
            url: http or https; a path in front of ``/v1`` is kept.
            token: Bearer token; None looks for one (environment, then this machine's token file
                for a loopback URL) when the first request is sent.
            timeout_s: Longest wait for the next byte of an answer, in seconds.
            insecure: Do not verify an https server, and send it no token but one given here. For
                a person who looks into a server; nothing that trains asks for it.

        Raises:
            SettingError: The URL or the token is malformed.
        """
        self.url = checked_url(url)
        self._is_unverified = insecure and self.url.startswith("https:")
        self.timeout_s = timeout_s
        self._token = _checked_token(token)
        self._found_token: str | None = None
        self._is_local = is_loopback(urlsplit(self.url).hostname or "")
        self._sessions: dict[int, requests.Session] = {}
        self._unverified: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"ServerSession({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        again = functools.partial(ServerSession, insecure=self._is_unverified)
        return again, (self.url, self._token, self.timeout_s)

    def get_json(self, path: str) -> dict[str, Any]:
        """Return the JSON object a path answers with.

        Raises:
            FdssError: The class the answer's code or status names.
            ServerUnreachable: No answer came.
            ServerUntrusted: There is no secure connection to the server; the token was not sent.
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
                    f"{asked} broke off in the middle of the answer: {reason_of(exc)}."
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
        found = None if self._token else self._found()
        if found is None or found == self._found_token:
            return False
        self._found_token = found
        self.close()
        return True

    def _answer_once(self, request: requests.Request, timeout_s: float) -> requests.Response:
        session = self._session()
        attempt = self._attempt(f"{request.method} {request.url}", timeout_s, not session.proxies)
        try:
            response = self._sent(session, request, timeout_s)
        except requests.RequestException as exc:
            raise attempt.failure(exc) from exc
        if response.status_code == 200:
            return response
        with contextlib.closing(response):
            error = error_of(response, attempt.asked)
        if isinstance(error, AuthenticationRequired):
            self._explain(error, was_sent="Authorization" in session.headers)
        elif type(error) is BadRequest:
            # What servers answer to plain HTTP where they speak TLS.
            fault = attempt.http_fault()
            error = error if fault is None else attempt.untrusted(fault)
        raise error

    def _attempt(self, asked: str, timeout_s: float, is_direct: bool) -> Attempt:
        return Attempt(self.url, asked, timeout_s, is_direct)

    def _sent(
        self, session: requests.Session, request: requests.Request, timeout_s: float
    ) -> requests.Response:
        if self._is_unverified:
            # Who asked for it has been warned in words of ours.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InsecureRequestWarning)
                return answered(session, request, timeout_s)
        try:
            return answered(session, request, timeout_s)
        except requests.exceptions.SSLError:
            if self._context() is context_of(session):
                raise
        # An authority has been imported, or a certificate renewed, since the session was made.
        self.close()
        return answered(self._session(), request, timeout_s)

    def _session(self) -> requests.Session:
        # A connection that two processes use gives one of them the other's answers.
        process = os.getpid()
        session = self._sessions.get(process)
        return session or self._sessions.setdefault(process, self._new_session())

    def _new_session(self) -> requests.Session:
        session = Session()
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
        adapter = BreakableAdapter(self._context())
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter)
        return session

    def _context(self) -> ssl.SSLContext | None:
        if not self.url.startswith("https:"):
            return None
        if not self._is_unverified:
            return current_trust().context
        self._unverified = self._unverified or unverified_context()
        return self._unverified

    def _bearer(self) -> str | None:
        if self._token is None and self._found_token is None:
            self._found_token = self._found()
        return self._token or self._found_token

    def _found(self) -> str | None:
        # Whoever answers unverified would get a token that was meant for somebody else.
        return None if self._is_unverified else _checked_token(tokens.find(self.url, None))

    def _explain(self, error: AuthenticationRequired, was_sent: bool) -> None:
        hint = self._token_hint() or error.hint
        is_general = was_sent and hint == AuthenticationRequired.default_hint
        error.hint = f"the token that was sent is not the server's: {hint}" if is_general else hint

    def _token_hint(self) -> str:
        if self._is_unverified and self._token is None:
            return "a server that is not verified is sent no token but one given with --token"
        if self._token is not None or os.environ.get(TOKEN_VARIABLE) or not self._is_local:
            return ""
        if self._found_token is None:
            return f"this machine keeps no token of that server: set {TOKEN_VARIABLE} to it"
        return (
            f"this machine's token file does not fit; if {self.url} is a tunnel,"
            f" set {TOKEN_VARIABLE} to the token of the server at its end"
        )


def checked_url(url: str) -> str:
    """Return a server's URL without a slash at its end; raises what ``checked_server_url`` does."""
    return checked_server_url(url, f"write http://HOST:PORT, and the token in {TOKEN_VARIABLE}")


def _checked_token(token: str | None) -> str | None:
    stripped = (token or "").strip()
    if not stripped or tokens.is_sendable(stripped):
        return stripped or None
    raise SettingError("The token holds white space, or characters beyond visible ASCII.")
