"""RFC 3339 timestamps, as a Go server writes them."""

import re
import sys
from datetime import datetime, timezone

_READS_IT_ALL = sys.version_info >= (3, 11)
_LOOSE = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d+))? ?(?:(Z|UTC|GMT)|([+-]\d\d):?(\d\d)?(?: [A-Z]{2,5})?)?",
    re.ASCII,
)


def parse_timestamp(text: str) -> datetime:
    """Read `2025-02-10T14:01:30.123456789Z` as an aware datetime.

    `Z` and offsets are understood, and a space instead of `T`; of up to nine fractional digits the first six count,
    since that is all a `datetime` holds. A time without an offset is taken as UTC.

    Raises:
        ValueError: The text is not a timestamp.

    """
    if text[4:5] != "-":
        # Later releases of Python read digits alone as a date, which may be seconds or milliseconds instead.
        message = "a timestamp begins with a year and a hyphen"
        raise ValueError(message)
    try:
        moment = datetime.fromisoformat(text if _READS_IT_ALL else _in_one_form(text))
    except ValueError:
        moment = datetime.fromisoformat(_in_one_form(text))
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def _in_one_form(text: str) -> str:
    """Write the timestamp in the one form that every Python reads."""
    parts = _LOOSE.fullmatch(text.upper())  # The standard allows small letters.
    if parts is None:
        return text
    day, minute, second, fraction, _, hours, minutes = parts.groups()
    offset = f"{hours}:{minutes or '00'}" if hours else "+00:00"
    return f"{day}T{minute}{second or ':00'}.{(fraction or '')[:6].ljust(6, '0')}{offset}"


def format_timestamp(moment: datetime) -> str:
    """Write an aware datetime as RFC 3339, with `Z` for UTC."""
    return moment.isoformat().replace("+00:00", "Z")
