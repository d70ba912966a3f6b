"""Read the presigned URLs of a result, in whatever shape they come.

Documented is one URL for each output key: `{"9.images.0": "https://…"}`. Nested objects, lists and objects that hold a URL
are read as well; the steps to a URL, joined by dots as in the documented keys, are its key.

Source: https://docs.cyberun.cloud/api-reference/task/get-task-result
"""

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from cyberun_async._protocol.conversions import StructureError, expected

_URL_NAMES = ("url", "download_url", "presigned_url", "signed_url", "href", "link")
_KEY_NAMES = ("key", "output_key", "id", "name", "filename")
_MAX_DEPTH = 6


def url_of(value: object, _: object = None) -> str | None:
    """Read one URL: text, or an object that holds it."""
    if isinstance(value, list):
        value = next((item for item in value if item), "")
    if isinstance(value, dict):
        value = _url_in(value)
    if isinstance(value, str):
        return value or None
    raise expected("a URL", value)


def urls_of(value: object, _: object = None) -> Mapping[str, str] | None:
    """Read URLs by output key; what is no URL is left out."""
    if not isinstance(value, (dict, list)):
        raise expected("an object of URLs", value)
    urls: dict[str, str] = {}
    for key, url in _urls_in(value, (), _MAX_DEPTH):
        # Of a list, several may have the same name.
        urls[f"{key}.{len(urls)}" if key in urls else key] = url
    if not urls and _holds_something(value):
        problem = "expected an object of URLs, and found none in it"
        raise StructureError(problem)
    return urls


def _holds_something(value: dict[str, object] | list[object]) -> bool:
    return any(item not in (None, "", [], {}) for item in (value.values() if isinstance(value, dict) else value))


def _urls_in(value: object, steps: tuple[str, ...], depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        # Beside URLs that are nested stand names, types and the like.
        if value and (len(steps) == 1 or "://" in value):
            yield ".".join(steps), value
    elif depth and isinstance(value, dict):
        url = _url_in(value) if steps else None
        if url is not None:
            yield ".".join(steps), url
        else:
            for key, item in value.items():
                yield from _urls_in(item, (*steps, key), depth - 1)
    elif depth and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _urls_in(item, (*steps, _key_in(item) or str(number)), depth - 1)


def _url_in(value: Mapping[str, object]) -> str | None:
    return next((url for name in _URL_NAMES if isinstance(url := value.get(name), str) and url), None)


def _key_in(item: object) -> str | None:
    found = (item.get(name) for name in _KEY_NAMES) if isinstance(item, dict) else ()
    return next((key for key in found if isinstance(key, str) and key), None)


_SIGNATURE = frozenset(
    {
        *("awsaccesskeyid", "googleaccessid", "ossaccesskeyid", "signature", "expires", "policy", "key-pair-id"),
        *("sig", "se", "sp", "sv", "sr", "st", "spr", "sip", "skoid", "sktid", "skt", "ske", "sks", "skv"),
        *("security-token", "q-signature", "q-ak", "q-sign-algorithm", "q-sign-time", "q-key-time"),
    }
)
"""Parameters of presigned URLs, beside those that begin with `x-`: of AWS, Google, Alibaba, CloudFront, Azure, Tencent."""


def object_of(url: str) -> object:
    """Give what identifies the object of a presigned URL: the URL without its signature's parameters."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    query = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if not name.lower().startswith(("x-", "response-", "q-")) and name.lower() not in _SIGNATURE
    ]
    return parts.scheme.lower(), parts.netloc.lower(), parts.path, tuple(sorted(query))
