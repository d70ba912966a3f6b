"""RFC 3339 timestamps, as a Go server writes them."""

import re
import sys
from datetime import datetime, timezone

_READS_IT_ALL = sys.version_info >= (3, 11)
_FRACTION = re.compile(r"\.(\d+)")


def parse_timestamp(text: str) -> datetime:
    """Read `2025-02-10T14:01:30.123456789Z` as an aware datetime.

    `Z` and offsets are understood; of up to nine fractional digits the first six count, since
    that is all a `datetime` holds. A time without an offset is taken as UTC.

    Raises:
        ValueError: The text is not a timestamp.

    """
    text = text.upper()  # The standard allows `z`, which `datetime` does not know.
    moment = datetime.fromisoformat(text if _READS_IT_ALL else _for_python_3_10(text))
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def _for_python_3_10(text: str) -> str:
    """Write the timestamp in the one form that Python 3.10 reads."""
    text = text[:-1] + "+00:00" if text.endswith("Z") else text
    return _FRACTION.sub(lambda digits: "." + digits[1][:6].ljust(6, "0"), text, count=1)


def format_timestamp(moment: datetime) -> str:
    """Write an aware datetime as RFC 3339, with `Z` for UTC."""
    return moment.isoformat().replace("+00:00", "Z")
