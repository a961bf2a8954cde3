"""A server's address and token as one line."""

from __future__ import annotations

import pytest

from fdss.bundles import MAX_BUNDLE_CHARACTERS, Bundle, parse_bundle
from fdss.errors import BadBundle

LINES = {
    "forgather-dataset://gpu7:8766/?token=abc": Bundle("gpu7", 8766, "abc"),
    "forgather-dataset://gpu7:8766/?token=": Bundle("gpu7", 8766),
    "forgather-dataset://10.0.0.7:1/?token=a%26b%3D%2F%25": Bundle("10.0.0.7", 1, "a&b=/%"),
    "forgather-dataset://[fe80::1]:65535/?token=x&scheme=https": Bundle(
        "fe80::1", 65_535, "x", "https"
    ),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_a_bundle(line: str) -> None:
    """A bundle becomes its line, and the line the bundle; http needs no scheme."""
    assert parse_bundle(line) == LINES[line]
    assert str(LINES[line]) == line


def test_what_people_paste() -> None:
    """White space around, a missing slash, a written-out http and capitals in the host are fine."""
    text = "  forgather-dataset://GPU7:8766?scheme=http&token=abc\n"

    assert parse_bundle(text) == Bundle("gpu7", 8766, "abc")


def test_its_url() -> None:
    """The URL of the server has its scheme, and brackets around an IPv6 address."""
    assert Bundle("::1", 8766, scheme="https").url == "https://[::1]:8766"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gpu7:8766",
        "http://gpu7:8766/?token=s3cret",
        "forgather-dataset://gpu7/?token=s3cret",
        "forgather-dataset://gpu7:0/?token=s3cret",
        "forgather-dataset://gpu7:65536/?token=s3cret",
        "forgather-dataset://gpu7:x/?token=s3cret",
        "forgather-dataset://:8766/?token=s3cret",
        "forgather-dataset://me:s3cret@gpu7:8766/?token=s3cret",
        "forgather-dataset://gpu7:8766/v1?token=s3cret",
        "forgather-dataset://gpu7:8766/",
        "forgather-dataset://gpu7:8766/?token",
        "forgather-dataset://gpu7:8766/?token=s3cret#x",
        "forgather-dataset://gpu7:8766/?token=s3cret&token=s3cret",
        "forgather-dataset://gpu7:8766/?token=s3cret&scheme=ftp",
        "forgather-dataset://gpu7:8766/?token=s3cret&verify=no",
        "forgather-dataset://gpu7:8766/?token=s3cret%0d%0aX:1",
        "forgather-dataset://gpu7:8766/?token=s3cret%ff",
        "forgather-dataset://gpu7:8766/?token=s3cret\nX: 1",
        "forgather-dataset://gpu7:8766/?token=s3cret\u2028s3cret",
        "forgather-dataset://[::1:8766/?token=s3cret",
        "forgather-dataset://[fe80::1%25eth0]:8766/?token=s3cret",
        "forgather-dataset://gpu7%2f:8766/?token=s3cret",
        "forgather-dataset://-gpu7:8766/?token=s3cret",
        "forgather-dataset://gpu7:8766/?token=" + "s3cret" * MAX_BUNDLE_CHARACTERS,
    ],
)
def test_what_is_no_bundle(text: str) -> None:
    """Anything else is refused, and the error does not tell the token."""
    with pytest.raises(BadBundle) as caught:
        parse_bundle(text)

    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_token_is_not_shown() -> None:
    """The representation of a bundle leaves the token out."""
    assert "s3cret" not in repr(Bundle("gpu7", 8766, "s3cret"))
