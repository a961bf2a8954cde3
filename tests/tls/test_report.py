"""What ``fdss tls status`` tells, and what it warns of."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from foreign_certificates import make_foreign

from fdss.tls import provisioning
from fdss.tls.certificates import fingerprint, read_certificates
from fdss.tls.folder import TlsFolder
from fdss.tls.importing import import_authority, install
from fdss.tls.names import Names
from fdss.tls.report import report_on

DAY = timedelta(days=1)


def warnings_of(folder: TlsFolder, days: float = 0) -> str:
    """Return the warnings, as lines, that a folder gets in some days from now."""
    fresh = TlsFolder(folder.root)
    return "\n".join(report_on(fresh, datetime.now(timezone.utc) + days * DAY).warnings)


def test_a_fresh_folder_needs_nothing(made: TlsFolder) -> None:
    """After init everything is shown, and nothing is warned of."""
    report = report_on(made)
    document = report.document

    assert report.warnings == document["warnings"] == []
    assert (document["state"], document["enabled"]) == ("ready", True)
    assert document["server"]["key_matches"]
    assert document["server"]["days_left"] == 824
    assert document["authority"]["days_left"] == 3649
    assert "localhost" in document["server"]["hostnames"]
    assert document["authority"]["sha256"] == fingerprint(read_certificates(made.ca_cert)[0])
    assert document["can_sign"]


def test_nothing_is_told_as_missing(root: Path) -> None:
    """Without a TLS folder there is a report, too."""
    document = report_on(TlsFolder(root)).document

    assert (document["state"], document["server"], document["files"]) == ("missing", None, [])


def test_expiry_is_warned_of(made: TlsFolder) -> None:
    """Both certificates are warned of, each with its command."""
    assert warnings_of(made, 790) == ""
    assert (
        warnings_of(made, 800) == "the server certificate expires in 24 days; run: fdss tls renew"
    )
    assert "the server certificate expired 5 days ago" in warnings_of(made, 830)
    assert "the authority expires in 9 days; run: fdss tls renew --ca" in warnings_of(made, 3640)
    assert report_on(made, datetime.now(timezone.utc) + 830 * DAY).document["state"] == "expired"


def test_disabled_is_warned_of(made: TlsFolder) -> None:
    """Certificates that are not enabled are warned of."""
    provisioning.set_enabled(made, False)

    assert warnings_of(made) == "TLS is provisioned and not enabled; run: fdss tls enable"


def test_names_that_are_missing_are_warned_of(made: TlsFolder, tmp_path: Path) -> None:
    """A certificate without the names of this machine is warned of; only an own one is renewed."""
    authority = provisioning.own_authority(made)
    few, key = make_foreign("few").write(tmp_path, "few")
    install(made, few, key, None)
    warning = warnings_of(made)

    assert "lacks" in warning
    assert "127.0.0.1" in warning
    assert "fdss tls renew" not in warning
    provisioning.init(made, Names(), ca_name=None, force=False)
    assert warnings_of(made) == ""
    assert read_certificates(made.ca_cert) == [authority.certificate]


def test_a_key_of_another_certificate_is_warned_of(made: TlsFolder, tmp_path: Path) -> None:
    """A key that does not match, cannot be read or is missing is warned of first."""
    _, other = make_foreign("other").write(tmp_path, "other")
    for content, words in ((other.read_bytes(), "is not the key"), (b"x", "no PEM private key")):
        made.server_key.write_bytes(content)
        assert words in warnings_of(made).splitlines()[0]
        assert not report_on(made).document["server"]["key_matches"]
    made.server_key.unlink()

    assert "has no key" in warnings_of(made).splitlines()[0]
    assert report_on(made).document["state"] == "missing"


@pytest.mark.only_on("linux", "darwin")
def test_what_others_can_read_is_warned_of(made: TlsFolder) -> None:
    """Keys, configuration and a folder that other users can use are warned of, with the cure."""
    for path in (made.server_key, made.ca_key, made.config_file, made.root):
        before = path.stat().st_mode
        path.chmod(before | 0o044)
        assert f"chmod {'700' if path == made.root else '600'} {path}" in warnings_of(made)
        path.chmod(before)

    assert warnings_of(made) == ""


def test_a_bundle_without_the_authority_is_warned_of(made: TlsFolder, tmp_path: Path) -> None:
    """A bundle that lacks the own authority, or is missing, is warned of."""
    other = make_foreign("other", is_authority=True)
    for change in (lambda: other.write(made.root, "ca-bundle"), made.bundle.unlink):
        change()
        assert "do not trust the authority" in warnings_of(made)
    provisioning.set_enabled(made, True)

    assert "do not trust" not in warnings_of(made)


def test_imported_authorities_are_shown(made: TlsFolder, tmp_path: Path) -> None:
    """Imported authorities are listed; one whose time is over is warned of."""
    theirs = make_foreign("Theirs", is_authority=True, days=20)
    import_authority(made, theirs.write(tmp_path, "t")[0], None)
    [entry] = report_on(made).document["trusted"]

    assert (entry["name"], entry["subject"]) == ("theirs", "CN=Theirs")
    assert entry["sha256"] == fingerprint(theirs.certificate)
    assert warnings_of(made) == ""
    assert "imported authority theirs expired" in warnings_of(made, 30)


def test_a_certificate_of_tomorrow_is_warned_of(made: TlsFolder) -> None:
    """A clock that is behind makes certificates begin in the future, which is told."""
    assert "is not valid before" in warnings_of(made, -1)


def test_validity_is_that_of_the_configuration(made: TlsFolder) -> None:
    """validity_days of config.yaml counts for the next certificate."""
    made.save(dataclasses.replace(made.config, validity_days=10))
    provisioning.renew(made, Names(), with_authority=False)

    assert warnings_of(made) == "the server certificate expires in 9 days; run: fdss tls renew"
