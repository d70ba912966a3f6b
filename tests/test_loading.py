"""What is loaded when: a program pays for what it uses."""

from __future__ import annotations

import os
import subprocess
import sys

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
    """Run a program in a Python of its own, and give the words that it prints."""
    # Coverage would load modules of its own.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=unmeasured)
    return done.stdout.split()


def test_import_loads_what_a_wait_needs() -> None:
    """Batches, files, observers, token providers and httpcore are not loaded by the import, nor by making a client."""
    program = f"""
import sys
from cyberun_async import AsyncClient
AsyncClient("sk-test")
print(*[name for name in {LATER} if name in sys.modules])
"""
    assert printed_by(program) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "loaded"),
    [
        pytest.param("cyberun_async.Outcome", "cyberun_async._batch.outcome", id="a name"),
        pytest.param("cyberun_async.CachedToken", "cyberun_async._transport.cached_token", id="a token provider"),
        pytest.param(
            "cyberun_async.AsyncClient('sk-x', observer=cyberun_async.Observer())",
            "cyberun_async._observing",
            id="an observer",
        ),
        pytest.param("from cyberun_async import *", "cyberun_async._batch.journal", id="every name"),
        pytest.param("client.map('demo', [])", "cyberun_async._batch.batch", id="a batch"),
        pytest.param("client._core.files.storage", "cyberun_async._files.storage", id="files"),
    ],
)
def test_first_use_loads_the_rest(use: str, loaded: str) -> None:
    """Whatever was left out is there when it is asked for."""
    program = f"""
import sys
import cyberun_async
client = cyberun_async.AsyncClient("sk-test")
assert {loaded!r} not in sys.modules
{use}
print({loaded!r} in sys.modules)
"""
    assert printed_by(program) == ["True"]


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
