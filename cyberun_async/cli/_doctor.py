"""The commands that say what is wrong: with the way to the service, or with the service."""

from collections.abc import Mapping
from typing import Annotated

from cyclopts import Parameter

from cyberun_async import AsyncClient
from cyberun_async.cli._connect import Account, connect, connect_for_checks
from cyberun_async.cli._exit import ExitCode
from cyberun_async.cli._options import FROM_ENVIRONMENT, NO_PARAMETERS, Json
from cyberun_async.cli._parameters import Given, read_parameters
from cyberun_async.cli._text import printable, write_json, write_line
from cyberun_async.cli._wording import in_words_of_the_command_line
from cyberun_async.conformance import Finding, Report, check, diagnose

Submit = Annotated[
    str | None, Parameter(help="Also submit a task of this workflow, which is billed; `-p` sets its parameters.")
]

MARKS = {"pass": "ok  ", "fail": "FAIL", "skip": "--  "}


async def doctor(
    *,
    submit: Submit = None,
    given: Given = NO_PARAMETERS,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> ExitCode:
    """Check the connection to the service: network, key, team, clock and event streams.

    It exits with 1 if something is wrong, and says what to do about it.

    Example: `cyberun-async doctor --submit text-to-image -p prompt=dusk`
    """
    async with connect_for_checks(account) as (client, key_problem):
        values = await _parameters(client, None if key_problem else submit, given)
        return _show(await diagnose(client, submit=submit, parameters=values, key_problem=key_problem), as_json=json)


async def conformance(
    *,
    submit: Submit = None,
    given: Given = NO_PARAMETERS,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> ExitCode:
    """Check the service's responses against its documentation.

    It only reads, unless `--submit` is given, and exits with 1 if something differs.

    Example: `cyberun-async conformance --submit text-to-image -p prompt=dusk`
    """
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
            write_line(
                printable(f"{MARKS[finding.outcome]}  {finding.name}: {in_words_of_the_command_line(finding.detail)}")
            )
            if finding.advice:
                write_line(printable(f"      {in_words_of_the_command_line(finding.advice)}"))
    return ExitCode.OK if report.is_good else ExitCode.ERROR


def _fields(finding: Finding) -> Mapping[str, object]:
    return {"name": finding.name, "outcome": finding.outcome, "detail": finding.detail, "advice": finding.advice}
