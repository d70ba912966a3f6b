"""Whether a Cyberun does what its documents promise, and whether it can be reached: any base URL, any key.

```python
async with AsyncClient() as client:
    report = await conformance.check(client)
    print(report)
```

Nothing is submitted, uploaded or changed unless `submit` names a workflow. On the command line: `cyberun-async conformance`
and `cyberun-async doctor`.

Source: https://docs.cyberun.cloud/api-reference
"""

from collections.abc import Mapping

from cyberun_async._client import AsyncClient, core_of
from cyberun_async.conformance._checks import Conformance
from cyberun_async.conformance._diagnosis import Diagnosis
from cyberun_async.conformance._report import Finding, Report

__all__ = ["Finding", "Report", "check", "diagnose"]


async def check(
    client: AsyncClient,
    *,
    submit: str | None = None,
    parameters: Mapping[str, object] | None = None,
    timeout: float = 600.0,
) -> Report:
    """Check the service's responses against its documentation, strictly where the client itself is lenient.

    Each request is sent once. A difference is a finding, not an error.

    Args:
        client: An open client of the service.
        submit: A workflow of which one task is submitted, which costs money: its events, its result and its cancelling
            are held against the documents as well. Without it, the checks only read.
        parameters: Of that task.
        timeout: Seconds that it is followed for; it is left running after them.

    Raises:
        ConfigurationError: The client is closed.

    Source: https://docs.cyberun.cloud/api-reference

    """
    run = Conformance(client, submit, parameters or {}, timeout)
    return Report(core_of(client).settings.base_url, await run.run())


async def diagnose(
    client: AsyncClient,
    *,
    submit: str | None = None,
    parameters: Mapping[str, object] | None = None,
    timeout: float = 20.0,
    key_problem: str | None = None,
) -> Report:
    """Check whether the service can be reached, as whom, and whether event streams get through or are buffered on the way.

    Args:
        client: An open client of the service.
        submit: A workflow of which one task is submitted, which costs money, to measure the stream with; else a running
            task is taken, where there is one.
        parameters: Of that task.
        timeout: Seconds that the stream is followed for.
        key_problem: Why there is no usable key; the client's own is then not sent, and only the checks before it are run.

    Raises:
        ConfigurationError: The client is closed.

    Source: https://docs.cyberun.cloud/api-reference/streaming-events

    """
    run = Diagnosis(client, submit, parameters or {}, timeout, key_problem)
    return Report(core_of(client).settings.base_url, await run.run())
