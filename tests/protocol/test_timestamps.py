"""Timestamps as a Go server writes them."""

from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyberun_async._protocol import timestamps
from cyberun_async._protocol.timestamps import format_timestamp, parse_timestamp

UTC = timezone.utc


@pytest.fixture(params=[True, False], ids=["as on this Python", "as on Python 3.10"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read it in both ways wherever the tests run, as far as this Python can."""
    if not request.param:
        monkeypatch.setattr(timestamps, "_READS_IT_ALL", False)


@pytest.mark.usefixtures("_both_ways")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        pytest.param("2025-02-10T14:01:30Z", datetime(2025, 2, 10, 14, 1, 30, tzinfo=UTC), id="Z"),
        pytest.param("2025-02-10t14:01:30z", datetime(2025, 2, 10, 14, 1, 30, tzinfo=UTC), id="small letters"),
        pytest.param("2025-02-10T14:01:30+00:00", datetime(2025, 2, 10, 14, 1, 30, tzinfo=UTC), id="offset of zero"),
        pytest.param(
            "2025-02-10T14:01:30+05:30",
            datetime(2025, 2, 10, 14, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            id="east",
        ),
        pytest.param(
            "2025-02-10T14:01:30.5-08:00",
            datetime(2025, 2, 10, 14, 1, 30, 500_000, tzinfo=timezone(timedelta(hours=-8))),
            id="west, with a fraction",
        ),
        pytest.param("2025-02-10T14:01:30.1Z", datetime(2025, 2, 10, 14, 1, 30, 100_000, tzinfo=UTC), id="one digit"),
        pytest.param(
            "2025-02-10T14:01:30.123456Z", datetime(2025, 2, 10, 14, 1, 30, 123_456, tzinfo=UTC), id="six digits"
        ),
        pytest.param(
            "2025-02-10T14:01:30.1234567Z", datetime(2025, 2, 10, 14, 1, 30, 123_456, tzinfo=UTC), id="seven digits"
        ),
        pytest.param(
            "2025-02-10T14:01:30.999999999Z", datetime(2025, 2, 10, 14, 1, 30, 999_999, tzinfo=UTC), id="nine digits"
        ),
        pytest.param("2025-02-10T14:01:30", datetime(2025, 2, 10, 14, 1, 30, tzinfo=UTC), id="no offset"),
        pytest.param("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC), id="the zero time of Go"),
    ],
)
def test_parse_timestamp(text: str, moment: datetime) -> None:
    """A timestamp is an aware moment, in its own offset."""
    parsed = parse_timestamp(text)

    assert (parsed, parsed.utcoffset()) == (moment, moment.utcoffset())


@pytest.mark.usefixtures("_both_ways")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "soon",
        "14:01:30Z",
        "2025-13-10T14:01:30Z",
        "2025-02-10T25:01:30Z",
        "2025-soon",
        "2025-02-10T14:01:30+99:00",
        "1739196090",
    ],
)
def test_not_a_timestamp(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError):
        parse_timestamp(text)


@given(st.text(max_size=30) | st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,12})?([zZ]|[+-]\d\d:\d\d)?\Z"))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    """Whatever the text, there is an aware moment or a `ValueError`."""
    with suppress(ValueError):
        assert parse_timestamp(text).tzinfo is not None


@given(st.datetimes(timezones=st.just(UTC)))
def test_round_trip(moment: datetime) -> None:
    """A moment that is written down reads the same."""
    text = format_timestamp(moment)

    assert text.endswith("Z")
    assert parse_timestamp(text) == moment
