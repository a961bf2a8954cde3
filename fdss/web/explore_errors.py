"""What went wrong between the router and a server, in words for who looks at a page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fdss.errors import FdssError
from fdss.router.asking import AskFailed, AskTimedOut, RowTooLarge

from .values_text import visible

BAD_GATEWAY = 502

_ANSWERED = re.compile(r"/v1/\S+ answered [0-9]{3} ?")

_TITLES = {
    400: "This cannot be asked",
    403: "The server does not allow it",
    404: "Not found",
    412: "The dataset has changed",
    502: "The server did not answer as it should",
    503: "Busy",
}
_HINTS = {
    "hub-disabled": "the server was started with --no-hf",
    "paths-disabled": "the server would have to be started with --allow-paths",
    "dataset-not-found": "check the name; a server without --allow-downloads has only what is in "
    "its cache",
    "split-not-found": "choose one of the splits that the server lists",
    "too-many-streams": "try again in a moment",
    "content-changed": "reload the page",
}


@dataclass(frozen=True)
class Trouble:
    """An error as a page tells it.

    Attributes:
        status: Of the answer.
        is_token: Whether the server refused the token that the router sent.
        is_large: Whether one row was too large to be shown.
        is_said: Whether the server has told a failure of its own.
    """

    status: int
    code: str
    message: str
    hint: str = ""
    is_token: bool = False
    is_large: bool = False
    is_said: bool = False

    @property
    def title(self) -> str:
        """Return the kind of trouble, in a few words."""
        if self.is_token:
            return "The server refused the router's token"
        if self.is_said:
            return "The server could not do it"
        return _TITLES.get(self.status, "This did not work")


def trouble_of(error: AskFailed | FdssError) -> Trouble:
    """Return how an error is told; a refusal of a server keeps its status."""
    if isinstance(error, FdssError):
        return Trouble(error.status, error.code, visible(error.message), visible(error.hint))
    text = _sentence(visible(str(error)))
    if error.status == 401 or (error.status == 403 and not error.code):
        return Trouble(
            BAD_GATEWAY,
            "token-refused",
            f"The server refused what the router asked. {text}".rstrip(),
            "remove the server and add it again with the token that it has now",
            is_token=True,
        )
    if error.status is not None and (error.is_refusal or error.status == 503):
        return Trouble(error.status, error.code, text, _HINTS.get(error.code, ""))
    if error.status == 500 and error.code:
        hint = "the log of the server has the details"
        return Trouble(BAD_GATEWAY, error.code, text, hint, is_said=True)
    is_large = isinstance(error, RowTooLarge)
    return Trouble(
        BAD_GATEWAY,
        "row-too-large" if is_large else "bad-gateway",
        text,
        "look at some columns alone" if is_large else _hint(error),
        is_large=is_large,
    )


def _sentence(text: str) -> str:
    """Return what a server said, without the question, which nobody on the page has put."""
    said = _ANSWERED.sub("", text, count=1).strip().rstrip(".") or text
    return f"{said[:1].upper()}{said[1:]}."


def _hint(error: AskFailed) -> str:
    if isinstance(error, AskTimedOut):
        return "the server may be at work on it still: reload the page in a minute"
    return "see on the page of the servers whether it is up, then reload this page"
