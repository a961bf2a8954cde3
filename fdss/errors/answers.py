"""What a server answers to a request that it does not fulfil."""

from __future__ import annotations

from .base import FdssError


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


class CrossSiteRefused(Forbidden):
    """A page of another site asks through a browser, and the server wants no token."""

    code = "cross-site-refused"
    default_hint = "a browser reaches a server without tokens by an address or as localhost only"


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


class NobodyServes(FdssError):
    """No server of a cluster has the dataset or may get it, up or down."""

    code = "nobody-serves"
    status = 410
    default_hint = "fdss cluster datasets lists what the cluster serves"


class ContentChanged(FdssError):
    """The dataset's rows are not the rows the request names."""

    code = "content-changed"
    status = 412
    default_hint = "load the dataset again and start from a state of the new content"


class BodyTooLarge(FdssError):
    """The body of a request is larger than the server accepts."""

    code = "body-too-large"
    status = 413


class UrlTooLong(FdssError):
    """The URL of a request is longer than the server accepts."""

    code = "url-too-long"
    status = 414
    default_hint = "ask for fewer columns, or start the server with a larger --max-url-bytes"


class UnsupportedMediaType(FdssError):
    """The body of a request is not JSON."""

    code = "unsupported-media-type"
    status = 415
    default_hint = "send Content-Type: application/json"


class HeadersTooLarge(FdssError):
    """The headers of a request are more, or larger, than the server accepts."""

    code = "headers-too-large"
    status = 431


class Unavailable(FdssError):
    """The server cannot answer now and can later.

    Attributes:
        retry_after_s: Seconds after which to ask again.
    """

    code = "unavailable"
    status = 503
    retry_after_s = 5


class NotReady(Unavailable):
    """The server should be sent no requests yet, or no longer."""

    code = "not-ready"
    retry_after_s = 2
    default_hint = "'checks' in the answer says what it waits for"


class TooManyConnections(Unavailable):
    """The server, or the client's address, has as many connections as it may have."""

    code = "too-many-connections"
    default_hint = "close connections that are not used; --max-connections says how many fit"


class TooManyStreams(Unavailable):
    """The server, or the client's address, has as many streams of rows as it may have."""

    code = "too-many-streams"
    retry_after_s = 1
    default_hint = "ask again once another stream has ended; --max-streams says how many fit"


class TooManyLoads(Unavailable):
    """As many loads are under way or wait as the server takes."""

    code = "too-many-loads"
    retry_after_s = 2
    default_hint = "ask again in a while; --max-loads says how many may wait"


class DatasetDamaged(FdssError, OSError):
    """A dataset's files cannot be read as what they claim to be."""

    code = "dataset-damaged"


class UncarriableValue(FdssError, TypeError):
    """A column holds a type that the wire format has no form for."""

    code = "uncarriable-value"
