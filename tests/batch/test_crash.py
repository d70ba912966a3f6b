"""A batch that is killed, at each instant or again and again, ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import count as counting
from pathlib import Path
from typing import Any

import pytest
from support.sampling import BASE_SEED, count

from cyberun_async.local import LocalCyberun, LocalParameter
from cyberun_async.local.scripts import after, complete

KILLS = count(sample=3, soak=500)
ITEMS_A_KILL = 30

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is a matter of POSIX"),
]


class Crashing:
    """A server, and a program that forks a batch for each line it is given."""

    def __init__(self, server: LocalCyberun, program: subprocess.Popen[str], directory: Path) -> None:
        """Run nothing yet."""
        self.server = server
        self._program = program
        self._directory = directory

    def start(
        self,
        workflow: str,
        *,
        items: int = 1,
        max_in_flight: int = 1,
        kill_at: int | None = None,
        full: int | None = None,
    ) -> int:
        """Start a batch of a workflow, whose journal is its own, and give its process."""
        order = {
            "base_url": self.server.base_url,
            "key": self.server.api_key,
            "workflow": workflow,
            "journal": str(self._directory / workflow),
            "items": items,
            "max_in_flight": max_in_flight,
            "kill_at": kill_at,
            "full": full,
        }
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(order) + "\n")
        self._program.stdin.flush()
        return self._say()

    def was_killed(self) -> bool:
        """Wait for the end of the process, and tell whether it was a kill; nothing else but success may be."""
        status = self._say()
        assert status in {0, signal.SIGKILL}
        return status == signal.SIGKILL

    def outcomes(self, workflow: str) -> list[list[Any]]:
        """Give what the last batch of a workflow has written at its end."""
        outcomes: list[list[Any]] = json.loads((self._directory / f"{workflow}.outcomes").read_text())
        return outcomes

    def billed(self, workflow: str) -> list[tuple[int, str]]:
        """Give the number of each item that was submitted, with its task: the server's own count."""
        return [
            (json.loads(each.body)["parameters"]["n"], each.task_id)
            for each in self.server.requests
            if each.operation == "workflows.run" and each.task_id and f"/{workflow}/" in each.path
        ]

    def _say(self) -> int:
        assert self._program.stdout is not None
        return int(self._program.stdout.readline())


@pytest.fixture
def crashing(tmp_path: Path) -> Iterator[Crashing]:
    """Run a server and the program."""
    program = [sys.executable, str(Path(__file__).with_name("crashing.py"))]
    with (
        LocalCyberun(pace=1) as server,
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        yield Crashing(server, process, tmp_path)
        assert process.stdin is not None
        process.stdin.close()


def has_ended(pid: int) -> bool:
    """Whether a process has ended; its parent waits for it, so nothing is left of one that has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_killed_at_each_instant(crashing: Crashing) -> None:
    """Wherever it is killed, the next run finds the one task there is, or submits the item, or says that it cannot know."""
    endings = set()
    for instant in counting():
        workflow = f"work-{instant}"
        crashing.server.workflow(workflow, parameters=[LocalParameter("n", "number")], script=[complete({})])(
            lambda _: b""
        )
        crashing.start(workflow, kill_at=instant)
        was_killed = crashing.was_killed()
        known_before = len(crashing.billed(workflow))
        crashing.start(workflow)
        assert not crashing.was_killed()
        [[index, task_id, is_uncertain, is_matched, succeeded]] = crashing.outcomes(workflow)
        billed = crashing.billed(workflow)
        assert billed == ([] if is_uncertain else [(0, task_id)]), f"killed at instant {instant}"
        assert (index, succeeded) == (0, not is_uncertain)
        endings.add("uncertain" if is_uncertain else "matched" if is_matched else "resumed" if known_before else "new")
        if not was_killed:
            break
    assert endings == {"new", "uncertain", "matched", "resumed"}


@pytest.mark.soak
@pytest.mark.timeout(60 + 2 * KILLS)
@pytest.mark.parametrize("is_full", [False, True], ids=["with room", "full at random"])
def test_killed_at_any_instant(crashing: Crashing, is_full: bool) -> None:
    """With many items in flight, and on a disk that is full at random, each is submitted once, or reported as uncertain."""
    dice, items = random.Random(BASE_SEED or 50), KILLS * ITEMS_A_KILL
    script = [after(0.02), complete({})]
    crashing.server.workflow("work", parameters=[LocalParameter("n", "number")], script=script)(lambda _: b"")
    killed = 0
    while killed < KILLS:
        # An instant by what has been done, which is as random on a busy machine as on an idle one.
        instant = len(crashing.server.requests) + dice.randint(1, 60)
        pid = crashing.start("work", items=items, max_in_flight=12, full=dice.randrange(2**32) if is_full else None)
        # A disk that is full when the journal is opened, or for every item that is left, ends the run by itself.
        while len(crashing.server.requests) < instant and not has_ended(pid):
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.01))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        killed += crashing.was_killed()
    crashing.start("work", items=items, max_in_flight=12)
    assert not crashing.was_killed()

    outcomes, billed = crashing.outcomes("work"), crashing.billed("work")
    assert sorted(index for index, *_ in outcomes) == list(range(items))
    counted = Counter(index for index, _ in billed)
    for index, task_id, is_uncertain, _, succeeded in outcomes:
        if is_uncertain:
            assert counted[index] <= 1
        else:
            assert (counted[index], succeeded) == (1, True)
            assert (index, task_id) in billed
    uncertain = sum(is_uncertain for _, _, is_uncertain, *_ in outcomes)
    print(f"{killed} kills, {items} items, {len(billed)} submissions, {uncertain} uncertain")
    assert uncertain < items / 2, "the kills hit everything"
