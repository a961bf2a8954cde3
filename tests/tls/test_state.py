"""Whether a server finds what it needs, and how long it will."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from fdss.errors import SettingError
from fdss.tls import provisioning
from fdss.tls.certificates import not_after, read_certificates
from fdss.tls.folder import TlsFolder
from fdss.tls.state import TlsState, expiry_warnings, state_of, time_left

DAY = timedelta(days=1)


def test_states(made: TlsFolder) -> None:
    """A folder is ready, expired when its time is over, disabled, and missing without a key."""
    end = not_after(read_certificates(made.server_cert)[0])
    assert state_of(made) is TlsState.READY
    assert state_of(made, end - DAY) is TlsState.READY
    assert state_of(made, end) is TlsState.EXPIRED
    provisioning.set_enabled(made, False)
    assert state_of(made, end) is TlsState.DISABLED
    made.server_key.unlink()

    assert state_of(made) is TlsState.MISSING


def test_nothing_is_missing(home: Path) -> None:
    """Without a TLS folder the state is missing."""
    assert state_of(TlsFolder()) is TlsState.MISSING


def test_looking_is_light(
    run_python: Callable[..., subprocess.CompletedProcess[str]], home: Path
) -> None:
    """Where there are no certificates, looking for them loads no library of certificates."""
    program = (
        "import sys; from fdss.tls.folder import TlsFolder; from fdss.tls.state import state_of\n"
        "print(state_of(TlsFolder()).value, 'cryptography' in sys.modules, 'yaml' in sys.modules)"
    )

    assert run_python("-c", program).stdout == "missing False False\n"


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (31 * DAY, None),
        (30 * DAY, None),
        (30 * DAY - timedelta(seconds=1), "expires in 29 days"),
        (1.5 * DAY, "expires in 1 day"),
        (timedelta(hours=1), "expires in less than a day"),
        (timedelta(0), "expired less than a day ago"),
        (-9 * DAY, "expired 9 days ago"),
    ],
)
def test_warnings_begin_thirty_days_before(
    made: TlsFolder, left: timedelta, words: str | None
) -> None:
    """Under 30 days there is one warning, which names the file, the time and the command."""
    now = not_after(read_certificates(made.server_cert)[0]) - left
    warnings = expiry_warnings(made.server_cert, now)

    assert len(warnings) == (words is not None)
    for warning in warnings:
        assert f"{made.server_cert} {words}; run: fdss tls renew" in warning


def test_time_left_is_that_of_now(made: TlsFolder) -> None:
    """A fresh certificate has its 825 days left."""
    assert timedelta(0) < 825 * DAY - time_left(made.server_cert) < timedelta(minutes=1)
    assert time_left(made.server_cert, datetime.now(timezone.utc) + 900 * DAY) < timedelta(0)


def test_a_certificate_that_is_none_is_a_setting_error(made: TlsFolder) -> None:
    """A server certificate that cannot be read is a SettingError that names it."""
    made.server_cert.write_bytes(b"hello")

    with pytest.raises(SettingError, match="server\\.crt"):
        state_of(made)
