"""The pytest fixture: what a server of its own costs each test.

The first start of a process imports the server and makes its demo workflows, which is measured by itself.
"""

from __future__ import annotations

import http.client
import time
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.harness import OURS, Figures, Spread, at_most

from cyberun_async.local import LocalCyberun

if TYPE_CHECKING:
    from benchmarks.harness import Table

ROUNDS = 50
MOST = 50
"""Milliseconds from asking for the fixture to the server's first answer."""


def test_starting_and_stopping(table: Table) -> None:
    """A server of its own is ready for a test in less time than anybody notices, and gone as fast."""
    first, *others = (start_and_stop() for _ in range(ROUNDS + 1))
    starts, answers, stops = (list(each) for each in zip(*others, strict=True))
    ready = [start + answer for start, answer in zip(starts, answers, strict=True)]
    table.add(
        "from asking for the fixture `cyberun` to the server's first answer, after the first fixture of a run",
        Spread.of(ready),
        unit="ms",
        goal=at_most(MOST),
        others=f"the slowest of {ROUNDS}: {max(ready):.0f} ms",
        figures=str(Figures({f"{OURS}: start": starts, "first answer": answers, "stop": stops}, "ms")),
    )
    table.add(
        "the first fixture of a run, the package imported already",
        Spread.of([first[0] + first[1]]),
        unit="ms",
        figures=f"stop {first[2]:.1f} ms",
    )


def start_and_stop() -> tuple[float, float, float]:
    """Time the fixture's three parts in milliseconds: starting, the first answer, stopping."""
    moments = [time.perf_counter()]
    with LocalCyberun() as server:
        moments.append(time.perf_counter())
        ask(server)
        moments.append(time.perf_counter())
    moments.append(time.perf_counter())
    start, answer, stop = (1000 * (end - begin) for begin, end in pairwise(moments))
    return start, answer, stop


def ask(server: LocalCyberun) -> None:
    """Send one request, without the SDK: connecting is all that it adds."""
    address = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(address.hostname, address.port)
    try:
        connection.request("GET", f"{address.path}/r/agents", headers={"Authorization": f"Bearer {server.api_key}"})
        assert connection.getresponse().status == 200
    finally:
        connection.close()
