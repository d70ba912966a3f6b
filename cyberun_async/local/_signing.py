"""Presigned links: a URL that carries its own right to one method, one object, some headers, and some seconds.

The query names are S3's, the signature is not: one HMAC over everything the link promises is enough to be strict.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from urllib.parse import quote, urlencode

from ._clock import Clock

_ALGORITHM = "LOCAL-HMAC-SHA256"
_DATE = "%Y%m%dT%H%M%S.%fZ"


class BadSignature(Exception):
    """A link that does not give the right to what was asked: forged, expired, or used without a signed header."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Signer:
    """Makes presigned links and checks them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)

    def sign(self, method: str, path: str, *, lifetime: float, headers: Mapping[str, str] | None = None) -> str:
        """Give the path and query that grant `method` on `path` for `lifetime` seconds, if `headers` are sent as given."""
        signed = {name.lower(): value for name, value in (headers or {}).items()}
        query = {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Date": self._clock.now().strftime(_DATE),
            "X-Amz-Expires": f"{lifetime:g}",
            "X-Amz-SignedHeaders": ";".join(sorted(signed)),
        }
        query["X-Amz-Signature"] = self._signature(method, path, query, signed)
        return f"{quote(path)}?{urlencode(query)}"

    def check(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Return if the link holds for this request.

        Raises:
            BadSignature: saying in which way it does not.
        """
        if "X-Amz-Signature" not in query:
            raise BadSignature("AccessDenied", "Access Denied")
        names = [name for name in query.get("X-Amz-SignedHeaders", "").split(";") if name]
        missing = [name for name in names if name not in headers]
        if missing:
            raise BadSignature("AccessDenied", f"There were headers signed that were not sent: {', '.join(missing)}")
        expected = self._signature(method, path, query, {name: headers[name] for name in names})
        if not hmac.compare_digest(expected.encode(), query["X-Amz-Signature"].encode()):
            raise BadSignature("SignatureDoesNotMatch", "The request signature we calculated does not match.")
        issued = datetime.strptime(query["X-Amz-Date"], _DATE).replace(tzinfo=timezone.utc)
        if self._clock.now() >= issued + timedelta(seconds=float(query["X-Amz-Expires"])):
            raise BadSignature("AccessDenied", "Request has expired")

    def _signature(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
        terms = ("X-Amz-Algorithm", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders")
        lines = [method, path, *(query.get(term, "") for term in terms)]
        lines += [f"{name}:{headers[name].strip()}" for name in sorted(headers)]
        return hmac.new(self._secret, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
