"""Settings for requests that need no key, since they are about getting one. (login, refresh, pairing)"""

from cyberun_async._protocol.base_url import DEFAULT_BASE_URL, check_base_url
from cyberun_async._protocol.secret import NO_KEY
from cyberun_async._settings import Retries, Settings, Timeouts, find_headers, from_environment

RETRIES = Retries(budget=10.0)
"""Shorter than for other calls: requests, or somebody at a terminal, wait for it."""


def anonymous_settings(
    base_url: str | None = None,
    *,
    timeouts: Timeouts = Timeouts(),
    headers: object = None,
    allow_insecure_http: bool = False,
) -> Settings:
    """Give the settings of a transport that signs nothing in.

    Args:
        base_url: The address of the API; else it is in `CYBERUN_BASE_URL`, else it is Cyberun Cloud's.
        timeouts: Seconds that the steps of a call may take.
        headers: For a gateway, as `seal_headers()` gives them; else they are in `CYBERUN_HEADERS`.
        allow_insecure_http: Whether the base URL may be `http://` to a host that is not loopback.

    Raises:
        ConfigurationError: The base URL or a header cannot be used.

    """
    url = base_url if base_url is not None else from_environment("CYBERUN_BASE_URL") or DEFAULT_BASE_URL
    checked = check_base_url(url, allow_insecure_http=allow_insecure_http)
    return Settings(base_url=checked, token=NO_KEY, retries=RETRIES, timeouts=timeouts, headers=find_headers(headers))
