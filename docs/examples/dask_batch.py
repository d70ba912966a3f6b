"""Take many items through a workflow on a Dask cluster: `python dask_batch.py text-to-image items.jsonl`."""

import argparse
import asyncio
import json
import logging
import sys
import zlib
from collections import Counter, defaultdict
from concurrent.futures import CancelledError
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from distributed import Client, LocalCluster, as_completed
from distributed.comm import CommClosedError

from cyberun_async import AsyncClient, ConfigurationError, CyberunError, Journal, Outcome

Items = list[tuple[str, dict[str, Any]]]
Row = dict[str, Any]

SHARDS = 16  # At most so many run at once. With journals there, another number would submit their items again.
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # Ctrl-C is for who started the workers.
RETRIES, PAUSE = 100, 3.0  # How often and after how many seconds Dask tries a shard again.


# On the workers


def prepare(folder: str) -> list[str]:
    """Tell which journals there are on the machine of this worker."""
    AsyncClient()  # What is wrong with a key is better said now than by each shard.
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [path.name for path in Path(folder).glob("*.journal")]


async def run_shard(workflow: str, items: Items, journal: str, resubmit: list[str]) -> list[Row]:
    """Run in the event loop of the worker, which has its own key in CYBERUN_API_KEY."""
    async with AsyncClient() as client:
        try:
            outcomes = await client.map(workflow, items, journal=Journal(journal), resubmit=resubmit).gather()
        except ConfigurationError:
            # Somebody has the journal still: perhaps a worker that was given up and is alive.
            await asyncio.sleep(PAUSE)
            raise
    return [row(outcome) for outcome in outcomes]


def row(outcome: Outcome) -> Row:
    # A match is a guess by workflow and time, and the tasks of the other shards look the same.
    is_uncertain = outcome.is_uncertain or outcome.is_matched
    return {
        "key": outcome.key,
        "outcome": "uncertain" if is_uncertain else "done" if outcome.succeeded else "failed",
        "task_id": outcome.task_id,
        "error": str(outcome.error) if outcome.error else None,
    }


# Where the batch is started


def read(path: Path) -> dict[int, Items]:
    """Give each shard its items: always the same ones, wherever and whenever this runs."""
    shards = defaultdict(list)
    # Not `splitlines()`, which breaks a text at U+2028, too.
    with path.open(encoding="utf-8-sig") as lines:
        for line in filter(str.strip, lines):
            parameters = json.loads(line)
            key = str(parameters.pop("id"))
            shards[zlib.crc32(key.encode()) % SHARDS].append((key, parameters))
    return shards


def homes(journals: dict[str, list[str]]) -> list[list[str]]:
    """Give each shard the machines that have its journal, or else one that shall: a disk may be its machine's own."""
    seen = defaultdict(set)
    for worker, names in journals.items():
        seen[urlsplit(worker).hostname].update(names)
    hosts = sorted(seen)
    return [
        [host for host in hosts if f"{shard}.journal" in seen[host]] or [hosts[shard % len(hosts)]]
        for shard in range(SHARDS)
    ]


def main(
    workflow: str, items: Path, *, scheduler: str | None, workers: int, journals: str, resubmit: list[str]
) -> bool:
    if scheduler is None:
        AsyncClient()  # The workers will have this environment; said here, it is said once.
    shards = read(items)
    counts = Counter(left=sum(map(len, shards.values())))
    try:
        options = {"scheduler": scheduler, "workers": workers, "journals": journals, "resubmit": resubmit}
        run(shards, counts, workflow, **options)
    except (CancelledError, CommClosedError):
        print("the scheduler is gone; once there is one, the same line resumes what is left", file=sys.stderr)
    print(", ".join(f"{counts[word]} {word}" for word in ("done", "failed", "uncertain", "left")), file=sys.stderr)
    return counts["done"] == counts.total()


def connect(cluster: str | LocalCluster) -> Client:
    try:
        return Client(cluster)
    except OSError as error:
        sys.exit(f"the scheduler does not respond: {error}")


def run(
    shards: dict[int, Items],
    counts: Counter[str],
    workflow: str,
    *,
    scheduler: str | None,
    workers: int,
    journals: str,
    resubmit: list[str],
) -> None:
    """Run each shard where its journal is, print what became of its items, and count them off what is left."""
    # Without the scheduler it says nothing else than that, in dozens of lines.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    local = {"n_workers": workers, "threads_per_worker": 4, "dashboard_address": ":0", "preload": DEAF}
    with nullcontext(scheduler) if scheduler else LocalCluster(**local) as cluster, connect(cluster) as dask:
        print(f"waiting for {workers} workers", file=sys.stderr)
        dask.wait_for_workers(workers)
        home = homes(dask.run(prepare, journals))
        running = {}
        for shard, its_items in shards.items():
            arguments = (workflow, its_items, f"{journals}/{shard}.journal", resubmit)
            running[dask.submit(run_shard, *arguments, workers=home[shard], retries=RETRIES)] = shard
        for future in as_completed(running):
            shard = running[future]
            if problem := future.exception():
                print(f"shard {shard}: {type(problem).__name__}: {problem}", file=sys.stderr)
                continue
            for each in future.result():
                print(json.dumps(each), flush=True)
                counts[each["outcome"]] += 1
                counts["left"] -= 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workflow")
    parser.add_argument("items", type=Path, help="an object of parameters a line, with the item's key as `id`")
    parser.add_argument("--scheduler", help="where there is a cluster; else one is started on this machine")
    parser.add_argument("--workers", type=int, default=4, help="how many to start, or to wait for")
    parser.add_argument("--journals", default="journals", help="a folder on each machine of the workers")
    parser.add_argument("--resubmit", action="append", default=[], choices=["uncertain", "failed"])
    try:
        sys.exit(not main(**vars(parser.parse_args())))
    except CyberunError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        print("interrupted: the same command resumes the batch", file=sys.stderr)
        sys.exit(130)
