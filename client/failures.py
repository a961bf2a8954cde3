"""What it means that a request got no answer."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import requests

from fdss.errors import PageError, ServerUnreachable, ServerUntrusted

from .connections import CONNECT_TIMEOUT_S, is_broken
from .handshakes import Fault, scheme_fault, tls_fault


@dataclass(frozen=True)
class Attempt:
    """A request that was sent, or was about to be.

    Attributes:
        url: The server's URL.
        asked: Method and URL of the request, for messages.
        timeout_s: Longest wait for an answer, in seconds.
        is_direct: Whether no proxy stands before the server.
        kind: What it was sent to, for messages.
        hint: What helps where nothing answers.
    """

    url: str
    asked: str
    timeout_s: float
    is_direct: bool
    kind: str = "dataset server"
    hint: str = "check the URL, and that the server runs (fdss start); fdss status asks it"

    def failure(self, exc: requests.RequestException) -> PageError:
        """Return the error that no answer stands for.

        When TLS failed the server is asked for its certificate; nothing else is sent to it.
        """
        fault = self._fault(exc)
        return self.untrusted(fault) if fault is not None else self._unreachable(exc)

    def untrusted(self, fault: Fault) -> ServerUntrusted:
        """Return the error of a server with which there is no secure connection."""
        return ServerUntrusted(
            f"The {self.kind} at {self.url} {fault.words} ({self.asked}).", hint=fault.hint
        )

    def http_fault(self) -> Fault | None:
        """Return what is wrong with an http URL, if its server speaks TLS."""
        return scheme_fault(self.url) if self.is_direct and not self._is_https else None

    @property
    def _is_https(self) -> bool:
        return self.url.startswith("https:")

    def _fault(self, exc: requests.RequestException) -> Fault | None:
        found = next((cause for cause in causes(exc) if isinstance(cause, ssl.SSLError)), None)
        if isinstance(exc, requests.exceptions.SSLError) and found is not None:
            fault = tls_fault(self.url, found, is_direct=self.is_direct)
            if fault is not None:
                return fault
        # Who is spoken to in the other scheme often just closes the connection.
        has_left = is_broken(exc) or isinstance(found, ssl.SSLEOFError)
        return scheme_fault(self.url) if has_left and self.is_direct else None

    def _unreachable(self, exc: requests.RequestException) -> ServerUnreachable:
        hint = self.hint
        if isinstance(exc, requests.exceptions.SSLError):
            hint = "check that the server speaks https; fdss status asks it"
        elif isinstance(exc, requests.exceptions.ProxyError):
            hint = "check HTTP_PROXY and HTTPS_PROXY, or name the host in NO_PROXY"
        if isinstance(exc, requests.exceptions.ConnectTimeout):
            reason = f"no connection within {min(CONNECT_TIMEOUT_S, self.timeout_s):g} s"
        elif isinstance(exc, requests.exceptions.Timeout):
            reason = f"no answer within {self.timeout_s:g} s"
            if self._is_https:
                hint = "a server without TLS does not answer https: try http:// in the URL"
        else:
            reason = reason_of(exc)
        return ServerUnreachable(
            f"Could not reach {self.kind} at {self.url}: {reason} ({self.asked}).", hint=hint
        )


def reason_of(exc: BaseException) -> str:
    """Return the operating system's or the transport's words for what lies at the bottom."""
    for cause in causes(exc):
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror)
        last = cause
    return str(last) or type(last).__name__


def causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, down to the bottom."""
    deepest: BaseException | None = exc
    while deepest is not None:
        yield deepest
        # urllib3 wraps some errors without raising them.
        wrapped = next((given for given in deepest.args if isinstance(given, Exception)), None)
        deepest = deepest.__cause__ or deepest.__context__ or wrapped
