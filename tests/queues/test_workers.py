"""The queue example: whoever submits is gone, whoever waits may die, and nothing is billed twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from queues.conftest import Site, real_redis, until
from support.forking import ForkServer
from support.web import EXAMPLES

from cyberun_async.local import LocalCyberun

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a matter of POSIX"),
]

A_LIFE = 6
"""Seconds that the usual task takes, and a little."""


def picture_of(site: Site, task_id: str) -> bytes:
    """Wait for the picture that a worker fetches, and give it."""
    until(lambda: any(site.pictures.glob(f"{task_id}/*.png")))
    (picture,) = site.pictures.glob(f"{task_id}/*.png")
    return picture.read_bytes()


def test_one_submits_and_another_waits(site: Site) -> None:
    """The id is all that a worker is given, and the job is gone when the picture is there."""
    task_id = site.submitted("a harbour")
    (job,) = site.redis.keys("arq:job:*")
    message = site.redis.get(job)
    site.work()
    until(lambda: site.count("tasks.events", task_id) == 1)
    site.cyberun.clock.advance_blocking(A_LIFE)

    assert picture_of(site, task_id).startswith(b"\x89PNG")
    until(lambda: not site.queued())
    assert task_id.encode() in message
    assert b"harbour" not in message
    assert site.cyberun.api_key.encode() not in message
    assert site.count("workflows.run") == 1


def test_a_worker_is_killed(site: Site) -> None:
    """Another one waits again once the job counts as left; the task is one, and nobody has cancelled it."""
    task_id = site.submitted("a harbour")
    first = site.work()
    until(lambda: site.count("tasks.events", task_id) == 1)
    first.kill()
    first.wait()
    site.work()
    assert site.queued() == [task_id]
    assert 0 < site.redis.pttl(f"arq:in-progress:{task_id}") <= 80_000
    # As if that time were over.
    site.redis.delete(f"arq:in-progress:{task_id}")
    until(lambda: site.count("tasks.events", task_id) == 2)
    site.cyberun.clock.advance_blocking(A_LIFE)

    assert picture_of(site, task_id).startswith(b"\x89PNG")
    assert (site.count("workflows.run"), site.count("tasks.cancel")) == (1, 0)


def test_a_worker_is_told_to_end(site: Site) -> None:
    """It gives its jobs back at once and leaves the tasks running, so that the next one goes on without a pause."""
    task_id = site.submitted("a harbour")
    first = site.work()
    until(lambda: site.count("tasks.events", task_id) == 1)
    first.send_signal(signal.SIGTERM)
    first.wait()
    assert (site.queued(), site.taken(task_id)) == ([task_id], False)
    site.work()
    until(lambda: site.count("tasks.events", task_id) == 2)
    site.cyberun.clock.advance_blocking(A_LIFE)

    assert picture_of(site, task_id).startswith(b"\x89PNG")
    assert (site.count("workflows.run"), site.count("tasks.cancel")) == (1, 0)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server: apt-get install redis-server")
def test_redis_goes_away(forks: ForkServer, tmp_path: Path) -> None:
    """A worker brings what it waits for and ends; nothing is submitted meanwhile, and nothing is billed or fetched twice."""
    with LocalCyberun(clock="held") as cyberun:
        with real_redis(tmp_path) as url:
            site = Site(forks, cyberun, url, ["-m", "arq", "worker.WorkerSettings"], tmp_path)
            task_id = site.submitted("a harbour")
            worker = site.work()
            until(lambda: site.count("tasks.events", task_id) == 1)
        cyberun.clock.advance_blocking(A_LIFE)
        assert picture_of(site, task_id).startswith(b"\x89PNG")
        assert worker.wait(30) != 0

        program = site.submit("a hill")
        (*_, reason) = program.communicate()[1].splitlines()
        assert program.returncode == 1
        assert reason.startswith("there is no queue, so nothing was submitted: ")

        # It has lost its memory; what is left there again does no harm.
        with real_redis(tmp_path):
            assert site.queued() == []
            site.leave(task_id)
            site.work()
            until(lambda: not site.queued())
            site.close()
        whole = [each for each in cyberun.requests if each.operation == "storage.get" and each.status == 200]
        assert (site.count("workflows.run"), site.count("tasks.cancel"), len(whole)) == (1, 0, 1)


def test_it_starts_with_one_command(tmp_path: Path) -> None:
    """`serve.py` submits and collects three pictures, each in a process of its own, and says where they are."""
    program = [sys.executable, str(EXAMPLES / "queue" / "serve.py")]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)

    pictures = done.stdout.splitlines()[-3:]
    assert [Path(tmp_path, picture).read_bytes()[:4] for picture in pictures] == [b"\x89PNG"] * 3
    assert "Traceback" not in done.stderr


def test_it_ends_by_ctrl_c(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to all of its processes: the workers put their jobs back, and nobody shows a traceback."""
    program = [sys.executable, str(EXAMPLES / "queue" / "serve.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        program, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        seen = ""
        while (seen.count("Starting worker"), seen.count(" → ")) != (2, 3):
            line = process.stderr.readline()
            assert line, seen
            seen += line
        os.killpg(process.pid, signal.SIGINT)
        errors = process.communicate()[1]
    assert (process.returncode, "Traceback" in errors) == (0, False)
    assert "will be run again" in errors
