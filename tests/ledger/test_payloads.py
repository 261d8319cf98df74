"""Payloads: chunks of at most 1 MiB, byte for byte, never cut short."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import NotFound
from app.ledger import Ledger
from app.ledger.payloads import UPLOAD_SECONDS
from tests.ledger.scene import Scene
from tests.redis_server import RedisServer

MIB = 1024 * 1024
SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 30 * MIB]


@pytest.mark.parametrize("accepted", [True, False], ids=["request", "response"])
@pytest.mark.parametrize("size", SIZES)
def test_a_body_comes_back_byte_for_byte_in_small_chunks(
    scene: Scene, size: int, accepted: bool
) -> None:
    body = random.Random(size).randbytes(size)
    if accepted:
        scene.submit("a", body)
        token = scene.job("a").payload
        assert scene.job("a").payload_size == size
    else:
        upload = scene.ledger.payloads.upload(b"head")
        upload.write(body)
        upload.finish()
        token = upload.token
        assert upload.size == size
    key = f"onejob:payload:{token}"
    assert max(scene.redis.hstrlen(key, name.decode()) for name in scene.redis.hkeys(key)) <= MIB
    head, chunks = scene.ledger.payloads.read(token)
    assert head == b"head"
    assert b"".join(chunks) == body


@settings(max_examples=25)
@given(pieces=st.lists(st.integers(0, 700_000), max_size=6), head=st.binary(max_size=50))
def test_it_does_not_matter_how_a_body_arrives(
    redis_server: RedisServer, pieces: list[int], head: bytes
) -> None:
    ledger = Ledger(redis_server.connect())
    source = random.Random(len(pieces))
    body = [source.randbytes(size) for size in pieces]
    upload = ledger.payloads.upload(head)
    for piece in body:
        upload.write(piece)
    upload.finish()
    found, chunks = ledger.payloads.read(upload.token)
    assert (found, b"".join(chunks)) == (head, b"".join(body))


def test_an_upload_that_is_abandoned_goes_by_itself(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = scene.ledger.payloads.upload(b"head")
    upload.write(b"x" * MIB)
    key = f"onejob:payload:{upload.token}"
    assert UPLOAD_SECONDS - 60 < scene.redis.ttl(key) <= UPLOAD_SECONDS
    scene.redis.expire(key, 100)
    upload.write(b"x" * MIB)  # a sign of life
    assert scene.redis.ttl(key) > 100
    monkeypatch.setattr("app.ledger.payloads.UPLOAD_SECONDS", 1)
    other = scene.ledger.payloads.upload(b"head")
    other.finish()
    while scene.redis.exists(f"onejob:payload:{other.token}"):
        pass
    assert scene.redis.exists(key)


def test_a_part_that_arrives_late_does_not_shorten_a_longer_life(scene: Scene) -> None:
    upload = scene.ledger.payloads.upload(b"head")
    upload.finish()
    scene.redis.expire(f"onejob:payload:{upload.token}", 10 * UPLOAD_SECONDS)
    upload.finish()
    assert scene.redis.ttl(f"onejob:payload:{upload.token}") > UPLOAD_SECONDS


def test_a_body_that_is_stored_again_and_shorter_is_the_shorter_one(ledger: Ledger) -> None:
    for body in (b"x" * (2 * MIB + 1), b"short"):
        upload = ledger.payloads.upload(b"head", "r-token")
        upload.write(body)
        upload.finish()
    _, chunks = ledger.payloads.read("r-token")
    assert b"".join(chunks) == b"short"


def test_a_discarded_upload_is_gone(ledger: Ledger) -> None:
    upload = ledger.payloads.upload(b"head")
    upload.write(b"x" * (2 * MIB + 1))
    upload.discard()
    assert ledger.client.keys("onejob:payload:*") == []


def test_an_unknown_payload_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="retention is over"):
        ledger.payloads.read("nothing")


def test_a_payload_that_ends_while_it_is_read_does_not_look_whole(ledger: Ledger) -> None:
    upload = ledger.payloads.upload(b"head")
    upload.write(b"x" * (3 * MIB))
    upload.finish()
    _, chunks = ledger.payloads.read(upload.token)
    assert next(chunks) == b"x" * MIB
    ledger.client.delete(f"onejob:payload:{upload.token}")
    with pytest.raises(NotFound, match="retention is over"):
        next(chunks)
