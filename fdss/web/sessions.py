"""Who is logged in: a signed cookie that stands for the router's token, for some hours."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass

from itsdangerous import BadSignature, TimestampSigner

from fdss import tokens

#: How long a login lasts.
LIFE_S = 12 * 3600
#: Logins that were ended before their time and are remembered; the oldest are forgotten first.
MOST_ENDED = 10_000


@dataclass(frozen=True)
class Session:
    """A login.

    Attributes:
        name: What tells it from all others.
        form_token: What the forms of its pages carry.
    """

    name: str
    form_token: str


class Sessions:
    """Opens and knows logins; routers with the same token know each other's.

    Nothing is kept but which ones have ended: the signature, made with the token, is the proof. A
    router that gets another token has none of them left.

    Attributes:
        cookie: Name of the cookie, which differs between routers with different tokens: browsers
            send the cookies of a host to all its ports.
    """

    def __init__(self, token: str) -> None:
        """Take the token that is asked for."""
        self._token = token
        self._key = _derived(token.encode(), "pages")
        self._signer = TimestampSigner(
            self._key, salt="login", key_derivation="hmac", digest_method=hashlib.sha256
        )
        self.cookie = f"fdss-{_derived(self._key, 'cookie').hex()[:8]}"
        self._lock = threading.Lock()
        self._ended: dict[str, float] = {}

    def open(self, given: str) -> str | None:
        """Return the value of a cookie for somebody who has the token, and None for others."""
        if not tokens.matches(given, self._token):
            return None
        return self._signer.sign(secrets.token_urlsafe(16)).decode("ascii")

    def find(self, value: str) -> Session | None:
        """Return the login that a cookie stands for; None if it is none, over or ended."""
        try:
            name = self._signer.unsign(value, max_age=LIFE_S).decode("ascii")
        except (BadSignature, UnicodeError):
            return None
        with self._lock:
            if name in self._ended:
                return None
        return Session(name, _derived(self._key, f"form {name}").hex())

    def end(self, session: Session) -> None:
        """Let a login be over."""
        now_s = time.monotonic()
        with self._lock:
            self._ended[session.name] = now_s
            for name, at_s in list(self._ended.items()):
                if now_s - at_s <= LIFE_S and len(self._ended) <= MOST_ENDED:
                    break
                del self._ended[name]


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.new(key, f"fdss router {purpose}".encode(), hashlib.sha256).digest()
