"""Texts that people and peers give: whatever stands in them, only typed errors come out."""

from __future__ import annotations

import contextlib

from fuzz_examples import examples
from hypothesis import given, strategies as st

from fdss.bundles import Bundle, parse_bundle
from fdss.errors import BadBundle, BadSplit, FdssError
from fdss.splits import parse_split, resolve_split

SPLIT_PARTS = st.sampled_from(
    ["train", "test", "all", "[", "]", ":", "%", "+", "-", "10", "_", "100", "(", ")", "closest"]
    + ["pct1_dropremainder", " ", "9" * 50, "\u0663", "\n", ".", "[:10%]", "[5:]", "[-1:]"]
)
SPLITS = st.one_of(st.text(max_size=40), st.lists(SPLIT_PARTS, max_size=8).map("".join))
COUNTS = st.dictionaries(
    st.sampled_from(["train", "test", "all", "x"]), st.integers(0, 1 << 62), max_size=3
)

BUNDLE_PARTS = st.sampled_from(
    ["forgather-dataset://", "h", ":", "8766", "/", "?", "token=", "&", "scheme=", "https", "%"]
    + ["[::1]", "[", "]", "@", "#", "%00", "%41", "\u212a", "99999", "token", "http", "\n", "."]
)
BUNDLES = st.one_of(
    st.text(max_size=60),
    st.lists(BUNDLE_PARTS, max_size=14).map("".join),
    st.lists(BUNDLE_PARTS, max_size=9).map(lambda parts: "forgather-dataset://" + "".join(parts)),
)
VISIBLE = st.characters(min_codepoint=33, max_codepoint=126)


@examples(1000)
@given(SPLITS, COUNTS)
def test_split_notation(text: str, counts: dict[str, int]) -> None:
    """A split is taken apart, or refused; its rows lie within the splits that exist."""
    with contextlib.suppress(FdssError):
        for name, rows in resolve_split(parse_split(text), counts):
            assert 0 <= rows.start <= rows.stop <= counts[name]


@examples(500)
@given(SPLITS)
def test_split_errors(text: str) -> None:
    """The notation alone has one kind of error."""
    with contextlib.suppress(BadSplit):
        assert parse_split(text)


@examples(1000)
@given(BUNDLES)
def test_bundles(text: str) -> None:
    """A text is a bundle that survives being written again, or refused."""
    with contextlib.suppress(BadBundle):
        found = parse_bundle(text)
        assert parse_bundle(str(found)) == found


@examples(500)
@given(
    st.one_of(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,30}[a-z0-9]", fullmatch=True),
        st.ip_addresses().map(str),
    ),
    st.integers(1, 65_535),
    st.text(VISIBLE, max_size=80),
    st.sampled_from(["http", "https"]),
)
def test_bundles_come_back(host: str, port: int, token: str, scheme: str) -> None:
    """Every bundle is read as it was written."""
    bundle = Bundle(host, port, token, scheme)

    assert parse_bundle(str(bundle)) == bundle
