"""The tree of errors, shared by server, client and command line.

FdssError                       500  internal
├── BadRequest                  400  bad-request
│   ├── BadParameter            400  bad-parameter
│   ├── BadSplit                400  bad-split
│   └── UnknownColumn           400  unknown-column
├── AuthenticationRequired      401  authentication-required
├── Forbidden                   403  forbidden
│   ├── HubDisabled             403  hub-disabled
│   ├── PathsDisabled           403  paths-disabled
│   ├── BuilderRefused          403  builder-refused
│   └── DataFilesRefused        403  data-files-refused
├── NotFound                    404  not-found
│   ├── UnknownHandle           404  unknown-handle
│   ├── UnknownLocal            404  unknown-local
│   ├── DatasetNotFound         404  dataset-not-found
│   └── SplitNotFound           404  split-not-found
├── MethodNotAllowed            405  method-not-allowed
├── ContentChanged              412  content-changed
├── BodyTooLarge                413  body-too-large
├── UnsupportedMediaType        415  unsupported-media-type
├── Unavailable                 503  unavailable
├── DatasetDamaged              500  dataset-damaged
├── UncarriableValue            500  uncarriable-value
├── SettingError                     bad-setting            (start-up only)
├── PageError                        page-error             (client only)
│   ├── ServerUnreachable            server-unreachable
│   ├── PageCut                      page-cut
│   └── PageForeign                  page-foreign
├── IterationBroken                  iteration-broken       (client only)
├── StateRefused                     state-refused          (client only)
└── UnsupportedStep                  unsupported-step       (client only)

A message is one sentence: what was asked, what was found. A hint is the flag, call or
command that helps. Nobody branches on the text of either; ``code`` is for that.
"""

from __future__ import annotations

from functools import partial
from typing import Any


class FdssError(Exception):
    """Anything FDSS refuses or fails to do, with a code, an HTTP status and a hint.

    Attributes:
        message: What was asked and what was found, one sentence.
        hint: What helps; empty when nothing general does.
        code: Kebab-case name that stays the same over versions.
        status: HTTP status of a response that carries the error.
        travels: Whether a response can carry it; the others are met on the side that raises them.
    """

    code = "internal"
    status = 500
    travels = True
    default_hint = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        """Return the message and, in brackets, the hint: what a traceback shows."""
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def as_json(self) -> dict[str, Any]:
        """Return the body every error response carries."""
        return {"error": self.message, "code": self.code, "hint": self.hint}

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), hint=self.hint), (self.message,)


class BadRequest(FdssError, ValueError):
    """The request is malformed."""

    code = "bad-request"
    status = 400


class BadParameter(BadRequest):
    """A query parameter or a field of the body has the wrong type or range."""

    code = "bad-parameter"


class BadSplit(BadRequest):
    """A split is not in the notation of ``datasets``, or selects rows that do not exist."""

    code = "bad-split"


class UnknownColumn(BadRequest):
    """A column was asked for that the dataset does not have."""

    code = "unknown-column"


class AuthenticationRequired(FdssError, PermissionError):
    """The bearer token is missing or wrong."""

    code = "authentication-required"
    status = 401
    default_hint = "pass --token or set FORGATHER_DATASET_SERVER_TOKEN to the server's token"


class Forbidden(FdssError, PermissionError):
    """The server's policy does not allow the request."""

    code = "forbidden"
    status = 403


class HubDisabled(Forbidden):
    """Datasets by Hub id are switched off."""

    code = "hub-disabled"
    default_hint = "ask for local/<name>, or start the server without --no-hf"


class PathsDisabled(Forbidden):
    """Datasets by filesystem path are switched off."""

    code = "paths-disabled"
    default_hint = "serve it with --local NAME=PATH, or start the server with --allow-paths"


class BuilderRefused(Forbidden):
    """A packaged builder (text, json, csv …) was named; it could read any file."""

    code = "builder-refused"
    default_hint = "serve the files with --local NAME=PATH"


class DataFilesRefused(Forbidden):
    """``data_files`` points outside the dataset."""

    code = "data-files-refused"
    default_hint = "use relative patterns inside the dataset, without '..' and URLs"


class NotFound(FdssError, LookupError):
    """Nothing is found under that name."""

    code = "not-found"
    status = 404


class UnknownHandle(NotFound):
    """No dataset is loaded under that handle."""

    code = "unknown-handle"
    default_hint = "POST /v1/load returns a handle; GET /v1/datasets lists those in use"


class UnknownLocal(NotFound):
    """No named local dataset has that name."""

    code = "unknown-local"
    default_hint = "GET /v1/local (fdss local) lists the names"


class DatasetNotFound(NotFound):
    """The dataset is neither cached nor, where downloads are allowed, on the Hub."""

    code = "dataset-not-found"


class SplitNotFound(NotFound):
    """The dataset has no split of that name."""

    code = "split-not-found"


class MethodNotAllowed(FdssError):
    """The path exists and does not answer to that HTTP method."""

    code = "method-not-allowed"
    status = 405


class ContentChanged(FdssError):
    """The dataset's rows are not the rows the request names."""

    code = "content-changed"
    status = 412
    default_hint = "load the dataset again and start from a state of the new content"


class BodyTooLarge(FdssError):
    """The body of a request is larger than the server accepts."""

    code = "body-too-large"
    status = 413


class UnsupportedMediaType(FdssError):
    """The body of a request is not JSON."""

    code = "unsupported-media-type"
    status = 415
    default_hint = "send Content-Type: application/json"


class Unavailable(FdssError):
    """The server cannot answer now and can later.

    Attributes:
        retry_after_s: Seconds after which to ask again.
    """

    code = "unavailable"
    status = 503
    retry_after_s = 5


class DatasetDamaged(FdssError, OSError):
    """A dataset's files cannot be read as what they claim to be."""

    code = "dataset-damaged"


class UncarriableValue(FdssError, TypeError):
    """A column holds a type that the wire format has no form for."""

    code = "uncarriable-value"


class SettingError(FdssError, ValueError):
    """A flag or a key of the configuration file is wrong."""

    code = "bad-setting"
    travels = False


class PageError(FdssError, OSError):
    """A page of rows did not arrive as it was asked for."""

    code = "page-error"
    travels = False


class ServerUnreachable(PageError, ConnectionError):
    """The server did not answer."""

    code = "server-unreachable"


class PageCut(PageError, ConnectionError):
    """A page ended before all its rows had arrived."""

    code = "page-cut"


class PageForeign(PageError):
    """A page carries other rows than those asked for: another order, position or format."""

    code = "page-foreign"


class IterationBroken(FdssError, RuntimeError):
    """An iterator that an error has ended is asked for more."""

    code = "iteration-broken"
    travels = False
    default_hint = "load its state_dict() into the dataset and iterate anew"


class StateRefused(FdssError, ValueError):
    """A saved state belongs to another dataset, order, view or pipeline."""

    code = "state-refused"
    travels = False


class UnsupportedStep(FdssError, NotImplementedError):
    """A step cannot follow the steps before it."""

    code = "unsupported-step"
    travels = False


def error_kinds() -> dict[str, type[FdssError]]:
    """Return every class of the tree by its code."""
    kinds: list[type[FdssError]] = [FdssError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return {kind.code: kind for kind in kinds}


def kind_of_status(status: int) -> type[FdssError]:
    """Return the class that stands for an HTTP status of 400 or more where no code is told."""
    general: list[type[FdssError]] = [*FdssError.__subclasses__(), FdssError]
    kinds = {kind.status: kind for kind in general}
    return kinds.get(status, BadRequest if status < 500 else FdssError)
