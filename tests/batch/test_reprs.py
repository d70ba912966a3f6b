"""What the stateful classes of a batch show of themselves."""

from __future__ import annotations

import re
from pathlib import Path

from batch.conftest import Connect
from support.tables import table

from cyberun_async import Journal
from cyberun_async._batch.admission import Reservation
from cyberun_async._batch.file_digests import FileDigests
from cyberun_async._batch.item_run import ItemRun
from cyberun_async._batch.journal_file import Job
from cyberun_async._batch.outcome import Item


async def test_reprs_of_a_batch(connect: Connect, tmp_path: Path) -> None:
    """Each part shows its state."""
    async with connect() as client:
        journal = Journal(tmp_path / "j")
        batch = client.map("work", [{}], journal=journal)
        runner = batch._runner
        context = runner._context
        item = ItemRun(context, Item(0, "k", {}), Reservation(lambda: None))
        shown = [repr(each) for each in (batch, runner, runner.tasks, context.submitter, item, item._record)]
        async with journal:
            shown.append(re.sub("Database .*/", "Database ", repr(journal._store)))
    assert shown == [
        "<Batch of 'work', 0 in flight>",
        "<Runner of 'work', 0 tasks>",
        "<TasksInFlight, 0 tasks>",
        f"<Submitter, {context.submitter.slots.value} slots free, 0 tasks in flight>",
        "<ItemRun of item 'k', task None>",
        "<ItemRecord of 'k', new>",
        "<JournalStore of <JournalDatabase j, open, 1 users, 0 jobs queued>, 0 rows unsaved>",
    ]
    assert "closed, 0 users" in repr(journal._store._database)
    assert repr(FileDigests("content")) == "<FileDigests by content, 0 files>"


@table("state", ["queued", "done", "dropped"])
def test_repr_of_a_job(state: str) -> None:
    """A job shows whether it was carried out."""
    job = Job(lambda _: None)
    job.is_done, job.is_dropped = state == "done", state == "dropped"
    assert repr(job) == f"<Job, {state}>"
