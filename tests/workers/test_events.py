"""The usher's event file, also one that an app has tampered with."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers import events

# A machine that is busy is slow at times.
ANY_PACE = settings(suppress_health_check=[HealthCheck.too_slow])

WHOLE = (
    "1790000000000000 started pid=7 deadline=1790000600000000\n"
    "1790000000100000 healthy\n"
    "1790000000200000 sent\n"
    "1790000001000000 responded status=200 bytes=12\n"
    "1790000002000000 exited code=0 oom_kills=0 memory_peak=1048576\n"
)


def test_a_whole_file_tells_all_that_happened() -> None:
    seen = events.parse(WHOLE)
    assert seen.sent
    assert seen.exited is not None
    assert seen.exited.number("code") == 0
    assert seen.exited.number("signal") is None
    assert seen.exited.at.timestamp() == 1790000002


def test_a_line_that_is_still_being_written_is_not_read() -> None:
    assert events.parse(WHOLE[:-5]).exited is None


def test_the_first_event_of_a_name_counts() -> None:
    forged = WHOLE + "1790000003000000 exited code=1\n"
    exited = events.parse(forged).exited
    assert exited is not None
    assert exited.number("code") == 0


def test_only_known_reasons_to_stop_are_believed() -> None:
    assert events.parse("1 stopping why=deadline health=none\n").stopping == "deadline"
    assert events.parse("1 stopping why=boredom\n").stopping is None


def test_the_best_health_ever_seen_is_told() -> None:
    assert events.parse("1 stopping why=startup health=unhealthy\n").answered
    assert not events.parse("1 stopping why=startup health=refused\n").answered


def test_numbers_that_make_no_sense_are_none() -> None:
    event = events.parse(f"1 exited code={'9' * 40} signal=x\n").exited
    assert event is not None
    assert event.number("code") is None
    assert event.number("signal") is None


@ANY_PACE
@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    events.parse(text + "\n")


@ANY_PACE
@given(st.integers(min_value=0))
def test_no_instant_breaks_the_reader(microseconds: int) -> None:
    events.parse(f"{microseconds} sent\n")


def test_a_line_without_a_plain_number_is_skipped() -> None:
    assert not events.parse("\u0663 sent\n-1 sent\n1.5 sent\n sent\n1\nsent\n").sent
