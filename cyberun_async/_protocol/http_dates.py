"""Dates as HTTP writes them: `Date`, `Last-Modified`, `Retry-After`.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7
"""

from datetime import timezone
from email.utils import parsedate_to_datetime


def parse_http_date(text: str | None) -> float | None:
    """Give a date as seconds since 1970, or `None` where it is none."""
    try:
        moment = parsedate_to_datetime(text or "")
        # Without an offset, as after `-0000`, it is UTC, which Python would take for local time.
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
