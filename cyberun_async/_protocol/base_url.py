"""Where the API is: which base URLs are accepted, and which hosts are this machine. (validate, loopback)"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from cyberun_async._errors import ConfigurationError

API_PATH = "/api/v1"
"""What the documented base URLs end with."""

DEFAULT_BASE_URL = f"https://core.cyberun.cloud{API_PATH}"


def check_base_url(url: str, *, allow_insecure_http: bool) -> str:
    """Give the base URL in the form that paths are appended to.

    Raises:
        ConfigurationError: It has no scheme or host, or carries user info, a query or a fragment,
            or would send the key in the clear to a host that is not loopback.

    """
    if not isinstance(url, str):
        message = f"base_url must be a string, not {type(url).__name__}"
        raise ConfigurationError(message)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        message = f"base_url is not a URL ({error}): write https://host/api/v1"
        raise ConfigurationError(message) from None
    for wrong, message in (
        (
            any(c.isspace() or not c.isprintable() for c in url),
            "base_url contains white space or control characters: remove them",
        ),
        (parts.scheme not in {"http", "https"}, "base_url needs a scheme: write https://host/api/v1"),
        (not host, "base_url needs a host: write https://host/api/v1"),
        ("@" in parts.netloc, "base_url must not carry a user or password: give the key as api_key"),
        (
            "?" in url or "#" in url,
            "base_url must not carry a query or a fragment: end it with the path, as in https://host/api/v1",
        ),
        (
            parts.path.rstrip("/").endswith(API_PATH * 2),
            f"base_url ends with {API_PATH} twice: write it once",
        ),
        (
            parts.scheme == "http" and not allow_insecure_http and not is_loopback(host or ""),
            (
                "base_url is http:// to a host that is not loopback, which would show the key to the network: "
                "use https://, or pass allow_insecure_http=True"
            ),
        ),
    ):
        if wrong:
            raise ConfigurationError(message)
    return url.rstrip("/")


def not_found_advice(base_url: str) -> str | None:
    """Say what is wrong with a base URL without the API's path; a gateway may have another one, so it is not refused."""
    if urlsplit(base_url).path.endswith(API_PATH):
        return None
    return f"base_url does not end with {API_PATH}; the API is usually at {base_url}{API_PATH}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
