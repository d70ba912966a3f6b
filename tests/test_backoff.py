"""The one formula of every delay between tries."""

from __future__ import annotations

import pytest
from support.tables import table

from cyberun_async._backoff import backoff


@table(
    ("failures", "seconds"),
    [
        pytest.param(0, 0.5, id="first"),
        pytest.param(1, 1.0, id="doubled"),
        pytest.param(3, 4.0, id="doubled again"),
        pytest.param(4, 8.0, id="the longest"),
        pytest.param(10**9, 8.0, id="for ever"),
    ],
)
def test_backoff(failures: int, seconds: float) -> None:
    """Each failure doubles the delay, up to the longest."""
    assert backoff(failures, initial=0.5, maximum=8.0) == seconds


def test_longest_below_first() -> None:
    """The longest counts, whatever the first is."""
    assert backoff(0, initial=2.0, maximum=1.0) == 1.0
