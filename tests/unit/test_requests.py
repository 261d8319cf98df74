"""How requests are read: targets, preferences, credentials, JSON and forms."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.bodies import parse_form, parse_json
from app.api.data_plane import split_target
from app.api.prefer import Preferences
from app.auth import bearer
from app.domain.errors import InvalidRequest, Unauthorized

SEGMENT = st.text(st.characters(codec="ascii", min_codepoint=0x21, exclude_characters="/?\x7f"))
REST = st.text(st.characters(codec="ascii", min_codepoint=0x21, exclude_characters="\x7f"))


@given(SEGMENT.filter(bool), REST)
def test_whatever_follows_the_first_segment_stays_as_it_is(name: str, rest: str) -> None:
    assert split_target(f"/{name}/{rest}") == (name, f"/{rest}")
    assert split_target(f"/{name}?{rest}") == (name, f"/?{rest}")
    assert split_target(f"http://host/{name}/{rest}") == (name, f"/{rest}")


@pytest.mark.parametrize(
    ("uri", "name", "target"),
    [
        ("/hello", "hello", "/"),
        ("/hello/", "hello", "/"),
        ("/hello?", "hello", "/?"),
        ("/hello//a/", "hello", "//a/"),
        ("/hello/a?b/c?d", "hello", "/a?b/c?d"),
        ("/hello?a/b", "hello", "/?a/b"),
        ("/%68ello/x", "%68ello", "/x"),
        ("/v1://x/y", "v1:", "//x/y"),
        ("/", "", "/"),
        ("//hello", "", "/hello"),
        ("/?hello", "", "/?hello"),
        ("*", "", "/"),
        ("hello:80", "", "/"),
        ("?x=http://h/hello", "", "/?x=http://h/hello"),
        ("http://h", "", "/"),
        ("http://h?/hello", "", "/?/hello"),
        ("http://h#/hello", "", "/hello"),
        ("1http://h/hello", "", "//h/hello"),
        ("https://user:pw@h:1/hello/x", "hello", "/x"),
    ],
)
def test_targets(uri: str, name: str, target: str) -> None:
    assert split_target(uri) == (name, target)


@pytest.mark.parametrize(
    ("values", "no_response", "for_app"),
    [
        ([], False, ()),
        (["respond-async"], False, ()),
        (["respond-async;x=y, wait = 5"], False, ()),
        (["respond-async-proxy"], True, ("respond-async",)),
        (["Respond-Async-Container"], False, ("respond-async",)),
        (["respond-async-proxy", "respond-async-container"], True, ("respond-async",)),
        (["a, ,b;c=1,", ",d"], False, ("a", "b;c=1", "d")),
        (['a="x, wait=1", b'], False, ('a="x, wait=1"', "b")),
        (['a="\\", respond-async-proxy"'], False, ('a="\\", respond-async-proxy"',)),
        (['a="never closed, b'], False, ('a="never closed, b',)),
        (["wait"], False, ()),
    ],
)
def test_preferences(values: list[str], no_response: bool, for_app: tuple[str, ...]) -> None:
    headers = [("pReFeR", value) for value in values] + [("Prefer-Not", "respond-async-proxy")]
    read = Preferences.of(headers)
    assert (read.no_response, read.for_app) == (no_response, for_app)


@given(st.lists(st.text(st.sampled_from('a,"\\;= '), max_size=200), max_size=3))
def test_no_preference_is_too_hard_to_read(values: list[str]) -> None:
    known = Preferences.of([("Prefer", value) for value in values])
    assert all(word == word.strip() and word for word in known.for_app)


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "  BEARER   abc  "])
def test_a_bearer(header: str) -> None:
    assert bearer(header) == "abc"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "abc", "Basic abc", "Bearerabc"])
def test_what_is_no_bearer(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        bearer(header)


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "", "ü😀\0", [], {}, {"a": [1, {"b": None}]}]
)
def test_json_is_read(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize("raw", [b"1", b"1.0", b"1e0", b"10E-1", b"1.000"])
def test_a_number_without_a_fraction_is_an_int(raw: bytes) -> None:
    assert repr(parse_json(raw)) == "1"
    assert repr(parse_json(b'{"a": [%s, 1.5, 1e-400]}' % raw)) == "{'a': [1, 1.5, 0]}"


def test_a_short_number_stays_short() -> None:
    assert repr(parse_json(b"[1e300, 9e15]")) == "[1e+300, 9000000000000000]"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"NaN", "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b'{"a": [{"b": NaN}]}', "b: NaN is not a number"),
        (b'{"a": {"b": 1, "b": 1}}', "'b' is there more than once"),
        (b'"\\ud800"', "Unicode"),
        (b'{"\\udfff": 1}', "Unicode"),
        (b'"\xff"', "Unicode"),
        (b"[" * 100_000 + b"]" * 100_000, "too deeply"),
        (b"9" * 5000, "not JSON"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_json_that_readers_disagree_on_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        parse_json(raw)


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "😀"


@given(st.binary(max_size=100))
def test_any_bytes_are_json_or_refused(raw: bytes) -> None:
    try:
        body = parse_json(raw)
    except InvalidRequest:
        return
    assert json.loads(raw) == body


def test_forms() -> None:
    assert parse_form(b"a=b&c=&d=%C3%BC+%2B") == {"a": "b", "c": "", "d": "ü +"}
    assert parse_form(b"") == {}


@pytest.mark.parametrize("raw", [b"a=b&a=b", b"a=%ff", b"\xff", b"&".join([b"a=b"] * 101)])
def test_forms_that_are_none(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not a form"):
        parse_form(raw)
