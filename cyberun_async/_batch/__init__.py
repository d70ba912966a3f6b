"""Many items through one workflow, each submitted once: what the rest of the package takes from here."""

from cyberun_async._batch.batch import Batch
from cyberun_async._batch.batches import Batches
from cyberun_async._batch.journal import Journal
from cyberun_async._batch.journal_entry import JournalEntry
from cyberun_async._batch.outcome import BatchCounts, Outcome

__all__ = ["Batch", "BatchCounts", "Batches", "Journal", "JournalEntry", "Outcome"]

for _public in (Batch, BatchCounts, Journal, JournalEntry, Outcome):
    # Their public address, by which they are pickled, however they were imported.
    _public.__module__ = "cyberun_async"
del _public
