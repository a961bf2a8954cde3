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
