"""A batch that is killed again and again ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cyberun_async.local import LocalCyberun, Parameter
from cyberun_async.local.scripts import after, complete

ITEMS, KILLS = 1500, 50


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is a matter of POSIX")
def test_killed_at_any_instant(tmp_path: Path) -> None:
    """Every item is submitted once, or at most once and reported as uncertain; the server's own count agrees."""
    journal, seed = tmp_path / "journal", random.Random(50)
    with LocalCyberun(pace=1) as server:
        script = [after(0.02), complete({})]
        server.workflow("work", parameters=[Parameter("n", "number")], script=script)(lambda _: b"")
        program = [sys.executable, str(Path(__file__).with_name("crashing.py"))]
        arguments = [server.base_url, server.api_key, str(journal), str(ITEMS)]
        with subprocess.Popen([*program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as runs:
            assert runs.stdin is not None
            assert runs.stdout is not None

            def start() -> int:
                runs.stdin.write("run\n")
                runs.stdin.flush()
                return int(runs.stdout.readline())

            killed = 0
            for _ in range(KILLS):
                # An instant by what has been done, which is as random on a busy machine as on an idle one.
                instant = len(server.requests) + seed.randint(1, 100)
                pid = start()
                while len(server.requests) < instant:
                    time.sleep(0.001)
                time.sleep(seed.uniform(0, 0.01))
                os.kill(pid, signal.SIGKILL)
                killed += os.WTERMSIG(int(runs.stdout.readline())) == signal.SIGKILL
            start()
            assert int(runs.stdout.readline()) == 0
            runs.stdin.close()
        billed = [
            (json.loads(each.body)["parameters"]["n"], each.task_id)
            for each in server.requests
            if each.operation == "workflows.run" and each.task_id
        ]

    outcomes = json.loads(journal.with_name("journal.outcomes").read_text())
    assert killed == KILLS
    assert sorted(index for index, *_ in outcomes) == list(range(ITEMS))
    counted = Counter(index for index, _ in billed)
    for index, task_id, is_uncertain, succeeded in outcomes:
        if is_uncertain:
            assert counted[index] <= 1
        else:
            assert (counted[index], succeeded) == (1, True)
            assert (index, task_id) in billed
    uncertain = sum(is_uncertain for _, _, is_uncertain, _ in outcomes)
    assert 0 < uncertain < ITEMS / 2, "the kills hit nothing, or everything"
