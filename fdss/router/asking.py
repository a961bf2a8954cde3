"""Questions to one dataset server: bounded in time and size, without redirects or ``.netrc``."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import orjson
import requests
import urllib3
from requests.utils import get_environ_proxies
from urllib3.exceptions import InsecureRequestWarning

from fdss import __version__, tokens
from fdss.errors import BadRequest, SettingError
from fdss.tls.trust import current_trust, unverified_context
from fdss.views.sizes import check_size
from fdss.wire.names import JSON

from .deadlines import Deadline, TimedAdapter
from .membership import Member

MAX_BODY_BYTES = 32 << 20
PIECE_BYTES = 1 << 16
MAX_ERROR_CHARACTERS = 300
#: Of the JSON of an answer: a value takes many times the memory of its bytes.
MAX_VALUES = 1 << 21
MAX_LEVELS = 64

Json = dict[str, Any]

logger = logging.getLogger(__name__)


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


class AskTimedOut(AskFailed):
    """A server has not answered in time; it may be at work on it still."""


class RowTooLarge(AskFailed):
    """A single row is more than the router takes of a server at a time."""


@dataclass(frozen=True)
class Ask:
    """One question to a server.

    Attributes:
        timeout_s: Most seconds until the whole answer is here.
        parameters: Of the query.
        body: JSON that is posted; None for a GET.
        accept: Media type of the answer.
        page_bytes: Where an answer in lines is cut; 0 where an answer that large is no answer.
    """

    path: str
    timeout_s: float
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    accept: str = JSON
    page_bytes: int = 0


@dataclass(frozen=True)
class Answer:
    """An answer of status 200.

    Attributes:
        is_cut: Whether more would have come after ``page_bytes``.
    """

    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False


class Asker:
    """A session with one dataset server, for one thread.

    Attributes:
        received_bytes: Size of the bodies of all answers so far.
    """

    def __init__(self, member: Member) -> None:
        self._member = member
        self._session = _session(member)
        self.received_bytes = 0
        self._deadline = Deadline()
        self._session.mount("http://", TimedAdapter(self._deadline))
        self._context: ssl.SSLContext | None = None

    def get(self, path: str, timeout_s: float) -> Json:
        """Return the JSON object that a path answers with.

        Args:
            timeout_s: Most seconds until the whole answer is here.

        Raises:
            AskFailed: No answer came in time, it was too large, or it is none of status 200.
        """
        return self._json(Ask(path, timeout_s))

    def post(self, path: str, body: Mapping[str, Any], timeout_s: float) -> Json:
        """Return the JSON object that a path answers with to a JSON body; errors as in ``get``."""
        return self._json(Ask(path, timeout_s, body=body))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def take(self, ask: Ask) -> Answer:
        """Return the answer to a question, if it is one of status 200; errors as in ``get``."""
        self._deadline.begin(ask.timeout_s)
        try:
            self._take_trust()
            response = self._session.request(
                "GET" if ask.body is None else "POST",
                self._member.base_url + ask.path,
                params=ask.parameters,
                json=ask.body,
                headers={"Accept": ask.accept, **_authorization(self._member)},
                timeout=ask.timeout_s,
                allow_redirects=False,
                stream=True,
            )
            with contextlib.closing(response):
                is_good = response.status_code == 200
                answer = _answer(response, ask.page_bytes if is_good else 0)
                self.received_bytes += len(answer.body)
        except AskFailed:
            raise
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _failed(error) from error
        except SettingError as error:
            # Without its words: they name a file of this machine.
            _tell_untrusted(error.message)
            raise AskFailed(
                "the router's own certificates cannot be used; its log has the details"
            ) from error
        if not is_good:
            raise _refused(ask.path, response.status_code, _parsed(answer.body))
        return answer

    def _json(self, ask: Ask) -> Json:
        answer = _parsed(self.take(ask).body)
        if not isinstance(answer, dict):
            raise AskFailed(
                f"{ask.path} did not answer a JSON object, or one with more or deeper values than "
                "the router takes",
                200,
            )
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
            self._session.mount("https://", TimedAdapter(self._deadline, context))


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Look at no redirect: asked not to follow it, ``requests`` still reads it to its end."""


def _session(member: Member) -> requests.Session:
    session = _Session()
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


@lru_cache(maxsize=1)
def _tell_untrusted(message: str) -> None:
    """Log why no server can be verified; once, as all of them are asked again and again."""
    logger.error("no https server can be asked: %s", message)


def _authorization(member: Member) -> dict[str, str]:
    # Looked up each time: a server that starts anew may have a new one.
    token = token_of(member)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _answer(response: requests.Response, page_bytes: int) -> Answer:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        # A few bytes could become any number of them.
        raise AskFailed("it answered compressed, which it was not asked to", response.status_code)
    body = bytearray()
    most_bytes = page_bytes or MAX_BODY_BYTES
    for piece in response.raw.stream(PIECE_BYTES, decode_content=False):
        body += piece
        if len(body) > most_bytes:
            if page_bytes:
                return Answer(response.headers, _whole_lines(body, page_bytes), is_cut=True)
            raise AskFailed(f"it answered more than {MAX_BODY_BYTES:,} bytes")
    return Answer(response.headers, bytes(body))


def _whole_lines(body: bytearray, most_bytes: int) -> bytes:
    return bytes(body[: body.rfind(b"\n", 0, most_bytes) + 1])


def _parsed(body: bytes) -> Any:
    """Return the value of a JSON text; None if it is none, or larger than an answer may be."""
    # There is one of them before every value but a first one.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        return None
    try:
        value = orjson.loads(body)
        check_size(value, most_levels=MAX_LEVELS, most_items=2 * MAX_VALUES)
    except (orjson.JSONDecodeError, BadRequest):
        return None
    return value


def _refused(path: str, status: int, answer: Any) -> AskFailed:
    told = answer if isinstance(answer, dict) else {}
    message = _shown(told.get("error") or told.get("detail") or "")
    return AskFailed(
        f"{path} answered {status} {message}".rstrip(), status, _shown(told.get("code"))
    )


def _shown(text: object) -> str:
    kept = str(text)[:MAX_ERROR_CHARACTERS] if isinstance(text, str) else ""
    return "".join(letter if letter.isprintable() else " " for letter in kept)


def _failed(error: BaseException) -> AskFailed:
    """Return the failure with the system's or the transport's words for what lies at the bottom."""
    deepest: BaseException | None = error
    while deepest is not None:
        if isinstance(deepest, (requests.Timeout, TimeoutError)):
            return AskTimedOut("no answer in time")
        if isinstance(deepest, OSError) and deepest.strerror:
            return AskFailed(str(deepest.strerror))
        last, deepest = deepest, deepest.__cause__ or deepest.__context__
    # What the server sent may stand in it.
    return AskFailed(_shown(str(last)) or type(last).__name__)
