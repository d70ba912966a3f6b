"""Files: a gibibyte down and half of one up, beside curl.

A real nginx on the same machine serves and takes them; every contestant is a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from benchmarks.harness import OURS, Spread, at_most, in_fresh_process, in_turn
from support.nginx import NGINX, running_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.harness import Contestant, Table

CURL = "curl"
MIB = 1024 * 1024

pytestmark = [
    pytest.mark.skipif(NGINX is None or shutil.which("curl") is None, reason="nginx and curl are not installed"),
]

# Beside the limit of all measurements, which a gibibyte a round goes past.
patiently = pytest.mark.timeout(900)

_SERVER = """
client_max_body_size 0;
location /uploads/ { dav_methods PUT; }
location /api/v1/ { default_type application/json; error_page 405 =200 $uri; }
location = /api/v1/r/files/presign {
    if ($request_method = POST) { return 200 '{"file_key": "k", "upload_url": "http://HERE/uploads/ours.bin"}'; }
}
location = /api/v1/r/tasks/one/result { return 200 '{"id": "one", "task_status": "completed", "download_urls": {"one.bin": "http://HERE/files/one.bin"}}'; }
location = /api/v1/r/tasks/warm/result { return 200 '{"id": "warm", "task_status": "completed", "download_urls": {"warm.bin": "http://HERE/files/warm.bin"}}'; }
location = /api/v1/r/tasks/four/result { return 200 '{"id": "four", "task_status": "completed", "download_urls": {FOUR}}'; }
"""


class Place:
    """The server, and where its files go."""

    def __init__(self, directory: Path, address: str) -> None:
        """Keep both."""
        self.address = address
        self.out = directory / "out"
        self.files = directory / "files"

    def empty(self) -> None:
        """Remove what the last contestant left, and let the disk come to rest."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        for upload in (self.files / "uploads").iterdir():
            upload.unlink()
        os.sync()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Serve the files of all measurements."""
    directory = tmp_path_factory.mktemp("transfers")
    (directory / "files/files").mkdir(parents=True)
    (directory / "files/uploads").mkdir()
    block = os.urandom(MIB - 8)
    sizes = {"one": 1024, "half": 512, **{f"quarter{number}": 256 for number in range(4)}}
    for name, size in sizes.items():
        with (directory / f"files/files/{name}.bin").open("wb") as file:
            for number in range(size):
                file.write(number.to_bytes(8, "big") + block)
    (directory / "files/files/warm.bin").write_bytes(b"warm")
    four = ", ".join(f'"q{number}.bin": "http://HERE/files/quarter{number}.bin"' for number in range(4))
    here = "$http_host"
    server = _SERVER.replace("FOUR", four).replace("HERE", here)
    with running_nginx(directory, server) as address:
        yield Place(directory, address)
    shutil.rmtree(directory)


def transfer(place: Place, who: str, what: str, figures: list[dict[str, float]]) -> Contestant:
    """Move files in a fresh process, and give the seconds."""

    async def run() -> float:
        place.empty()
        printed = await asyncio.to_thread(in_fresh_process, "transfer", who, what, place.address, str(place.out))
        figures.append(json.loads(printed))
        return figures[-1]["seconds"]

    return run


def curl(place: Place, *arguments: str) -> Contestant:
    """Let curl do it, and give the seconds, its start included."""

    async def run() -> float:
        place.empty()
        started = time.perf_counter()
        await asyncio.to_thread(subprocess.run, ["curl", "-sS", "-o", place.out / "curl.bin", *arguments], check=True)
        return time.perf_counter() - started

    return run


@patiently
def test_download(table: Table, place: Place) -> None:
    """A large file takes little longer than curl takes, checked and flushed, in flat memory."""
    figures: dict[str, list[dict[str, float]]] = {OURS: [], "httpx": [], "aiohttp": []}
    contestants = {
        CURL: curl(place, f"{place.address}/files/one.bin"),
        OURS: transfer(place, "ours", "down", figures[OURS]),
        "httpx without writing": transfer(place, "httpx", "down", figures["httpx"]),
        "aiohttp, 1 MiB, blocking writes": transfer(place, "aiohttp", "down", figures["aiohttp"]),
    }
    taken = asyncio.run(in_turn(contestants, rounds=2, unit="s"))
    table.compare("1 GiB from nginx to disk, against curl", taken, to=CURL, goal=at_most(1.8))
    table.add("rise of memory meanwhile", rise(figures[OURS]), unit="MiB", goal=at_most(16), others=rises(figures))


@patiently
def test_upload(table: Table, place: Place) -> None:
    """So does a large upload."""
    figures: dict[str, list[dict[str, float]]] = {OURS: [], "httpx": [], "aiohttp": []}
    contestants = {
        CURL: curl(
            place, "-H", "Expect:", "-T", str(place.files / "files/half.bin"), f"{place.address}/uploads/curl.bin"
        ),
        OURS: transfer(place, "ours", "up", figures[OURS]),
        "httpx, 1 MiB, blocking reads": transfer(place, "httpx", "up", figures["httpx"]),
        "aiohttp, an open file": transfer(place, "aiohttp", "up", figures["aiohttp"]),
    }
    taken = asyncio.run(in_turn(contestants, rounds=2, unit="s"))
    table.compare("512 MiB from a path to nginx, against curl -T", taken, to=CURL, goal=at_most(2))
    table.add("rise of memory meanwhile", rise(figures[OURS]), unit="MiB", goal=at_most(16), others=rises(figures))


@patiently
def test_stalls(table: Table, place: Place) -> None:
    """The loop stays free while both go on."""
    figures: list[dict[str, float]] = []
    asyncio.run(in_turn({OURS: transfer(place, "ours", "both", figures)}, rounds=3, unit="s"))
    stall = Spread.of([each["stall"] for each in figures[1:]])
    longest = Spread.of([each["longest"] for each in figures[1:]])
    table.add(
        "stall of the loop at the 99th percentile, both at once",
        stall,
        unit="ms",
        goal=at_most(20),
        figures=f"longest {longest} ms",
    )


@patiently
def test_four_files(table: Table, place: Place) -> None:
    """Four files side by side are no slower than one after another."""
    after = "one after another"
    contestants = {OURS: transfer(place, "ours", "4", []), after: transfer(place, "ours", "1", [])}
    taken = asyncio.run(in_turn(contestants, rounds=2, unit="s"))
    table.compare("four files of 256 MiB side by side, against one after another", taken, to=after, goal=at_most(1))


def rise(figures: list[dict[str, float]]) -> Spread:
    """Give the rise of memory over all rounds but the first."""
    return Spread.of([each["rise"] for each in figures[1:]])


def rises(figures: dict[str, list[dict[str, float]]]) -> str:
    """Give those of the others."""
    return "; ".join(f"{name} {rise(taken)} MiB" for name, taken in figures.items() if name != OURS)
