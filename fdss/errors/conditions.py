"""What is met on the side that raises it, and never travels."""

from __future__ import annotations

from .base import FdssError


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


class OutageTooLong(ServerUnreachable):
    """A job has waited for its rows for as long as it may."""

    code = "outage-too-long"


class ServerUntrusted(PageError):
    """There is no secure connection to the server, and asking again will not give one."""

    code = "server-untrusted"


class PageCut(PageError, ConnectionError):
    """A page ended before all its rows had arrived."""

    code = "page-cut"


class PageForeign(PageError):
    """A page carries other rows than those asked for: another order, position or format."""

    code = "page-foreign"


class AnswerTooLarge(FdssError):
    """A server sends more than a limit of the client allows.

    Attributes:
        rows: Rows that are too much together; fewer of them may be less.
    """

    code = "answer-too-large"
    travels = False
    rows = 1


class BadBundle(SettingError):
    """A text is not the bundle of a server's address and token."""

    code = "bad-bundle"
    default_hint = "a bundle is one line: forgather-dataset://HOST:PORT/?token=TOKEN"


class IterationBroken(FdssError, RuntimeError):
    """An iterator that an error has ended is asked for more."""

    code = "iteration-broken"
    travels = False
    default_hint = "load its state_dict() into the dataset and iterate anew"


class StateRefused(FdssError, ValueError):
    """A saved state belongs to another dataset, order, view or pipeline."""

    code = "state-refused"
    travels = False


class NotIndexable(FdssError, TypeError):
    """A dataset that is iterated is asked for a row by its number."""

    code = "not-indexable"
    travels = False


class UnsupportedStep(FdssError, NotImplementedError):
    """A step cannot follow the steps before it."""

    code = "unsupported-step"
    travels = False
