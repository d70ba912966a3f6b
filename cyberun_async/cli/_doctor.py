"""The commands that say what is wrong: with the way to the service, or with the service."""

from collections.abc import Mapping
from typing import Annotated

from cyclopts import Parameter

from cyberun_async import AsyncClient
from cyberun_async.cli._app import FROM_ENVIRONMENT, NO_PARAMETERS, Json
from cyberun_async.cli._connect import Account, connect
from cyberun_async.cli._exit import ExitCode
from cyberun_async.cli._parameters import Given, read_parameters
from cyberun_async.cli._text import printable, write_json, write_line
from cyberun_async.conformance import Finding, Report, check, diagnose

Submit = Annotated[
    str | None, Parameter(help="Submit one task of this workflow, which costs money, to see more; `-p` as in `run`.")
]

MARKS = {"pass": "ok  ", "fail": "FAIL", "skip": "--  "}


async def doctor(
    *,
    submit: Submit = None,
    given: Given = NO_PARAMETERS,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> ExitCode:
    """See whether the service is reached, as whom, and whether event streams get through; exit with 1 if something is wrong."""
    async with connect(account) as client:
        values = await _parameters(client, submit, given)
        return _show(await diagnose(client, submit=submit, parameters=values), as_json=json)


async def conformance(
    *,
    submit: Submit = None,
    given: Given = NO_PARAMETERS,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> ExitCode:
    """Hold the service's answers against its documents, only reading unless told to submit; exit with 1 if they differ."""
    async with connect(account) as client:
        values = await _parameters(client, submit, given)
        return _show(await check(client, submit=submit, parameters=values), as_json=json)


async def _parameters(client: AsyncClient, submit: str | None, given: Given) -> Mapping[str, object]:
    return {} if submit is None else await read_parameters(client, submit, given)


def _show(report: Report, *, as_json: bool) -> ExitCode:
    for finding in report.findings:
        if as_json:
            write_json({"type": "finding", **_fields(finding)})
        else:
            write_line(printable(f"{MARKS[finding.outcome]}  {finding.name}: {finding.detail}"))
            if finding.advice:
                write_line(printable(f"      {finding.advice}"))
    return ExitCode.OK if report.is_good else ExitCode.ERROR


def _fields(finding: Finding) -> Mapping[str, object]:
    return {"name": finding.name, "outcome": finding.outcome, "detail": finding.detail, "advice": finding.advice}
