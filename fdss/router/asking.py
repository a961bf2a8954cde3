"""Questions to one dataset server: bounded in time and size, without redirects or ``.netrc``."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import InsecureRequestWarning

from fdss import __version__, tokens
from fdss.errors import SettingError
from fdss.tls.trust import current_trust, unverified_context

from .membership import Member

MAX_BODY_BYTES = 32 << 20
PIECE_BYTES = 1 << 16
MAX_ERROR_CHARACTERS = 300

Json = dict[str, Any]


class AskFailed(OSError):
    """A server did not answer a question as it should.

    Attributes:
        status: HTTP status of the answer; None if none came.
        code: Code of the error in the answer, or empty.
    """

    def __init__(self, message: str, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def is_refusal(self) -> bool:
        """Return whether asking again would be answered the same."""
        return self.status is not None and 400 <= self.status < 500 and self.status != 429


class Asker:
    """A session with one dataset server, for one thread."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._session = _session(member)
        self._context: ssl.SSLContext | None = None

    def get(self, path: str, timeout_s: float) -> Json:
        """Return the JSON object that a path answers with.

        Args:
            timeout_s: Most seconds without a byte, and about the most altogether.

        Raises:
            AskFailed: No answer came in time, it was too large, or it is none of status 200.
        """
        return self._ask("GET", path, None, timeout_s)

    def post(self, path: str, body: Mapping[str, Any], timeout_s: float) -> Json:
        """Return the JSON object that a path answers with to a JSON body; errors as in ``get``."""
        return self._ask("POST", path, body, timeout_s)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout_s: float
    ) -> Json:
        deadline_s = time.monotonic() + timeout_s
        try:
            self._take_trust()
            response = self._session.request(
                method,
                self._member.base_url + path,
                json=body,
                headers=_authorization(self._member),
                timeout=timeout_s,
                allow_redirects=False,
                stream=True,
            )
            with contextlib.closing(response):
                answer = _answer(response, deadline_s)
        except requests.RequestException as error:
            raise AskFailed(_reason(error)) from error
        except SettingError as error:
            raise AskFailed(error.message) from error
        if response.status_code != 200:
            raise _refused(path, response.status_code, answer)
        if not isinstance(answer, dict):
            raise AskFailed(f"{path} did not answer a JSON object", response.status_code)
        return answer

    def _take_trust(self) -> None:
        """Verify with what is trusted now: an authority may be imported while the router runs."""
        if not self._member.base_url.startswith("https:"):
            return
        if self._member.verify_tls:
            context = current_trust().context
        else:
            # Who registered the server has been told; a word with every request helps nobody.
            urllib3.disable_warnings(InsecureRequestWarning)
            context = self._context or unverified_context()
        if context is not self._context:
            self._context = context
            self._session.mount("https://", _ContextAdapter(context))


class _ContextAdapter(HTTPAdapter):
    """Connections that are verified with one context, and nothing else."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=2)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, True, None)
        return host, {"ssl_context": self._context, "cert_reqs": self._context.verify_mode}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the connection as the context makes it."""


def _session(member: Member) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update(
        {
            "User-Agent": f"fdss-router/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
    )
    if not member.is_loopback:
        session.proxies.update(get_environ_proxies(member.base_url))
    return session


def token_of(member: Member) -> str:
    """Return what a server wants to be sent: told by the membership, or kept on this machine."""
    if member.auth_token or not member.is_loopback:
        return member.auth_token
    try:
        return tokens.find(member.base_url, None) or ""
    except SettingError:
        # A token file that others may use is no secret to send.
        return ""


def _authorization(member: Member) -> dict[str, str]:
    # Looked up each time: a server that starts anew may have a new one.
    token = token_of(member)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _answer(response: requests.Response, deadline_s: float) -> Any:
    body = bytearray()
    for piece in response.iter_content(PIECE_BYTES):
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise AskFailed(f"it answered more than {MAX_BODY_BYTES:,} bytes")
        if time.monotonic() > deadline_s:
            raise AskFailed("it answered too slowly")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _refused(path: str, status: int, answer: Any) -> AskFailed:
    told = answer if isinstance(answer, dict) else {}
    message = _shown(told.get("error") or told.get("detail") or "")
    return AskFailed(
        f"{path} answered {status} {message}".rstrip(), status, _shown(told.get("code"))
    )


def _shown(text: object) -> str:
    kept = str(text)[:MAX_ERROR_CHARACTERS] if isinstance(text, str) else ""
    return "".join(letter if letter.isprintable() else " " for letter in kept)


def _reason(error: BaseException) -> str:
    """Return the operating system's or the transport's words for what lies at the bottom."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    deepest: BaseException | None = error
    while deepest is not None:
        if isinstance(deepest, OSError) and deepest.strerror:
            return str(deepest.strerror)
        last, deepest = deepest, deepest.__cause__ or deepest.__context__
    return str(last)[:MAX_ERROR_CHARACTERS] or type(last).__name__
