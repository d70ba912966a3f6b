"""Keeping API keys and signatures out of logs, errors and reprs, also where another library wrote the text. (redact, log filter, secrets)"""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from cyberun_async._protocol.secret import Key, Secret, secrets_in_use

_KEY = re.compile(r"(?<![\w-])(?:[sda]k-|eyJ|whsec_)[\w.~+/=-]{8,}")
"""A key of one of the documented families, a JWT, or a webhook's secret."""

# These two begin with the one character that they need, so that the engine skips what has none: most texts have no secret.
_QUERY = re.compile(r"\?(?<=[^\s\"'<>?]\?)(?=[^\s\"'<>?=]{1,200}=)[^\s\"'<>]*")
"""The query of a URL: every storage calls its signature by another name, and nothing else in it is needed in a log."""

_NAMES = ("sig", "signature", "credential", "token", "hmac", "accesskeyid", "policy")

_PARAMETER = re.compile(rf"=(?:{'|'.join(f'(?<={name}=)' for name in _NAMES)})[^\s\"'<>&,;]{{8,}}", re.IGNORECASE)
"""A part of such a query by itself: what follows a name with one of these ends."""


def redact(text: str, secrets: Iterable[Secret[str]] = ()) -> str:
    """Cut out what must not get into a log: each secret in use, whatever looks like a key, and the signatures of presigned URLs.

    Args:
        text: What somebody else has written.
        secrets: What else must not get out, such as the parts of a presigned URL.

    """
    for secret in (*secrets, *secrets_in_use()):
        for form in _forms(secret):
            text = text.replace(form, "[key]" if isinstance(secret, Key) else "[signature]")
    text = _QUERY.sub("?[signature]", _KEY.sub("[key]", text))
    return _PARAMETER.sub("=[signature]", text)


def _forms(secret: Secret[str]) -> frozenset[str]:
    """Give the ways in which servers quote a text: as it is, in a URL, and in JSON."""
    if secret.forms is None:
        text = secret.reveal()
        quoted = {text, quote(text, safe="", errors="surrogatepass"), json.dumps(text)[1:-1]}
        # Without a key there is nothing to cut out.
        secret.forms = frozenset(quoted) if text else frozenset()
    return secret.forms


MAX_SHOWN = 2000
"""Characters of a response that an error keeps."""


def redacted(body: bytes | str, secrets: Iterable[Secret[str]] = ()) -> str:
    """Give the beginning of a response's text for an error to keep."""
    # A secret that the cut would split is cut out before.
    text = body[: 8 * MAX_SHOWN]
    return redact(text if isinstance(text, str) else text.decode("utf-8", "replace"), secrets)[:MAX_SHOWN]
