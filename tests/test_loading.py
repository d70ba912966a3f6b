"""What is loaded when: a program pays for what it uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

import cyberun_async

LATER = [
    "cyberun_async._batch",
    "cyberun_async._files",
    "cyberun_async._files.storage",
    "cyberun_async._observing",
    "cyberun_async._protocol.data_uri",
    "cyberun_async._resources.container_stream",
    "cyberun_async._transport.body_stream",
    "cyberun_async._transport.cached_token",
    "httpcore",
    "sqlite3",
]


def printed_by(program: str) -> list[str]:
    """Run a program in a Python of its own, and give the lines that it prints."""
    # Coverage would load modules of its own.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=unmeasured)
    return done.stdout.splitlines()


USES = {
    "a name": ("cyberun_async.Outcome", "cyberun_async._batch.outcome"),
    "a token provider": ("cyberun_async.CachedToken", "cyberun_async._transport.cached_token"),
    "an observer": (
        "cyberun_async.AsyncClient('sk-x', observer=cyberun_async.Observer())",
        "cyberun_async._observing",
    ),
    "every name": ("from cyberun_async import *", "cyberun_async._batch.journal"),
    "a batch": ("client.map('demo', [])", "cyberun_async._batch.batch"),
    "files": ("client._core.files.storage", "cyberun_async._files.storage"),
}
"""What a program uses, and a module that is left out until then."""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[Any]]:
    """Import the package and make a client, use each thing in a fork of that, and tell what was loaded before and after."""
    program = f"""
import json, os, sys
import cyberun_async
client = cyberun_async.AsyncClient("sk-test")
print(json.dumps({{"nothing": [name for name in {LATER} if name in sys.modules]}}), flush=True)
for name, (use, module) in {USES}.items() if hasattr(os, 'fork') else ():
    if os.fork() == 0:
        before = module in sys.modules
        exec(use)
        print(json.dumps({{name: [before, module in sys.modules]}}), flush=True)
        os._exit(0)
    os.wait()
"""
    return {name: loaded for line in printed_by(program) for name, loaded in json.loads(line).items()}


def test_import_loads_what_a_wait_needs(loaded: dict[str, list[Any]]) -> None:
    """Batches, files, observers, token providers and httpcore are not loaded by the import, nor by making a client."""
    assert loaded["nothing"] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no such call")
@pytest.mark.parametrize("use", USES)
def test_first_use_loads_the_rest(loaded: dict[str, list[Any]], use: str) -> None:
    """Whatever was left out is there when it is asked for."""
    assert loaded[use] == [False, True]


def test_public_address_of_what_came_along() -> None:
    """What the client loads by itself has its public address as well, so that it can be pickled by that."""
    program = """
import sys
from cyberun_async import AsyncClient
AsyncClient("sk-test").map("demo", [])
print(sys.modules["cyberun_async._batch.outcome"].Outcome.__module__)
"""
    assert printed_by(program) == ["cyberun_async"]


def test_every_name_is_listed() -> None:
    """`dir()` shows what is loaded later, too, and a slip is an `AttributeError`."""
    assert set(cyberun_async.__all__) <= set(dir(cyberun_async))
    with pytest.raises(AttributeError, match=r"module 'cyberun_async' has no attribute 'AsyncCleint'"):
        cyberun_async.AsyncCleint  # noqa: B018
