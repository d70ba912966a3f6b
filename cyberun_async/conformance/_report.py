"""What checks find, and how each of them comes to its finding."""

from collections.abc import Awaitable, Callable
from typing import Literal

import attrs

from cyberun_async._errors import CyberunError


@attrs.frozen
class Finding:
    """What one check found.

    Attributes:
        name: The check's name, which stays the same from release to release.
        outcome: `"pass"`, `"fail"`, or `"skip"` where it could not be checked.
        detail: What was seen, in a sentence; never a key or a presigned URL.
        advice: What to do about it, where that is known.

    """

    name: str
    outcome: Literal["pass", "fail", "skip"]
    detail: str
    advice: str | None = None


@attrs.frozen
class Report:
    """What all checks found.

    Attributes:
        base_url: Where.
        findings: In the order of the checks.

    """

    base_url: str
    findings: tuple[Finding, ...]

    @property
    def is_good(self) -> bool:
        """Whether no check failed; skipped ones do not count."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """What differs."""
        return tuple(finding for finding in self.findings if finding.outcome == "fail")

    def __str__(self) -> str:
        """Show one line for each finding."""
        lines = [f"{finding.outcome}  {finding.name}: {finding.detail}" for finding in self.findings]
        return "\n".join([self.base_url, *lines])


class Differs(Exception):
    """Ends a check that fails."""

    def __init__(self, detail: str, advice: str | None = None) -> None:
        """Keep what is to be found."""
        super().__init__(detail)
        self.detail = detail
        self.advice = advice


class Skipped(Exception):
    """Ends a check that cannot tell."""

    def __init__(self, detail: str, advice: str | None = None) -> None:
        """Keep what is to be found."""
        super().__init__(detail)
        self.detail = detail
        self.advice = advice


async def finding_of(name: str, work: Callable[[], Awaitable[str]]) -> Finding:
    """Run a check, which gives its sentence or raises what ends it."""
    try:
        return Finding(name, "pass", await work())
    except Differs as end:
        return Finding(name, "fail", end.detail, end.advice)
    except Skipped as end:
        return Finding(name, "skip", end.detail, end.advice)
    except CyberunError as error:
        return Finding(name, "fail", str(error))
