"""The types that users see: read by mypy and pyright, and never run."""

from __future__ import annotations

from cyberun_async import webhooks


def read_a_delivery(body: bytes, headers: dict[str, str]) -> str:
    """Headers may be a plain `dict`; the fields of a record have one type each."""
    event = webhooks.verify(body, headers, "whsec_...")
    task_id: str = event.task_id
    return task_id
