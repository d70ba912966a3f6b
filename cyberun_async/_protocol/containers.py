"""Container services, and the calls that ask for them and go through to them."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from types import NoneType

import attrs

from cyberun_async._errors import DecodeError, InvalidParameters
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.fields import extra_field, on_wire, redact_repr, wire
from cyberun_async._protocol.headers import headers_of
from cyberun_async._protocol.pages import MAX_PAGE_SIZE, Page, page_query
from cyberun_async._protocol.paths import segment
from cyberun_async._protocol.record import Record

INVOKE_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class Variable(Record):
    """One environment variable of a service; its value is never shown.

    Source: https://docs.cyberun.cloud/api-reference/container/get-a-container-service-by-slug-runtime

    Attributes:
        name: Its name.
        value: What it is set to, or `None` where the server leaves it out.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    name: str = attrs.field(metadata=on_wire("env_name"))
    value: str | None = wire("env_value", default=None, hidden="secret")
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class Volume(Record):
    """One folder of the host that a service sees.

    Source: https://docs.cyberun.cloud/api-reference/container/get-a-container-service-by-slug-runtime

    Attributes:
        host_path: Where it is on the host.
        container_path: Where the service sees it.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    host_path: str | None = None
    container_path: str | None = None
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class Container(Record):
    """A container service.

    Every field but `id` is `None` or empty where the server leaves it out.

    Source: https://docs.cyberun.cloud/api-reference/container/get-a-container-service-by-slug-runtime

    Attributes:
        id: Its UUID.
        slug: Its readable name, as used in `containers.invoke()`.
        display_name: Its name for people.
        type: `deployed`, or `external` for one that runs elsewhere.
        status: `created`, `deploying`, `running`, `stopping`, `stopped` or `failed`.
        description: What it does.
        docker_image: The image that it runs.
        exposed_port: The port that it listens on.
        health_path: The path of its health check.
        env: Its environment variables.
        volumes: The folders that it sees.
        required_labels: The labels that an agent must have to run it.
        gpu_count: GPUs it is given; -1 for all, 0 for none.
        replica_count: How many of it run.
        usage_prompt: How to use it, for a language model.
        openapi_url: Where its API is described.
        external_url: Where an external one runs.
        external_auth_credential_id: The credential that is used there.
        created_at: When it was made.
        updated_at: When it last changed.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    id: str
    slug: str | None = wire("service_slug", default=None)
    display_name: str | None = None
    type: str | None = wire("service_type", default=None)
    status: str | None = wire("service_status", default=None)
    description: str | None = wire("service_desc", default=None)
    docker_image: str | None = None
    exposed_port: int | None = None
    health_path: str | None = None
    env: tuple[Variable, ...] = wire("env_config", default=())
    volumes: tuple[Volume, ...] = wire("volume_config", default=())
    required_labels: tuple[str, ...] = ()
    gpu_count: int | None = None
    replica_count: int | None = None
    usage_prompt: str | None = None
    openapi_url: str | None = None
    external_url: str | None = None
    external_auth_credential_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class Invocation(Record):
    """The response of a service; an error status of the service is a response, too, and raises nothing.

    Source: https://docs.cyberun.cloud/api-reference/container/invoke-a-container-service-runtime

    Attributes:
        status_code: The service's own HTTP status.
        headers: The service's own headers.
        body_base64: The body as it came; `content` has its bytes.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    status_code: int
    headers: Mapping[str, str] = wire(read=headers_of, factory=dict)
    body_base64: str = attrs.field(default="", repr=False)
    extra: Mapping[str, object] = extra_field()

    @property
    def content(self) -> bytes:
        """The body.

        Raises:
            DecodeError: The server's base64 is broken.

        """
        try:
            return b64decode(self.body_base64, validate=True)
        except ValueError as error:
            message = f"body_base64 is not base64 ({error})"
            raise DecodeError(message) from None


def list_containers(number: int = 1, per_page: int = MAX_PAGE_SIZE) -> Call[Page[Container]]:
    """Ask for one page of the container services."""
    return Call("GET", "/r/containers", Page[Container], query=page_query(number, per_page))


def get_container(slug: str) -> Call[Container]:
    """Ask for a container service."""
    return Call("GET", f"/r/containers/{segment(slug, 'the service')}", Container)


def invoke_container(
    slug: str,
    method: str,
    path: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call[Invocation]:
    """Call a container service through the server."""
    problems = []
    if method not in INVOKE_METHODS:
        problems.append(f"method must be one of {', '.join(INVOKE_METHODS)}, not {method!r}")
    if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
        problems.append(f"path must begin with a single slash and stay on the service, not {path!r}")
    if content is not None and not isinstance(content, (bytes, bytearray, memoryview)):
        problems.append(f"content must be bytes, not {type(content).__name__}")
    is_mapping = isinstance(headers, (Mapping, NoneType))
    if not is_mapping or not all(isinstance(text, str) for pair in (headers or {}).items() for text in pair):
        problems.append("headers must be strings by name")
    if problems:
        raise InvalidParameters(problems)
    body: dict[str, object] = {"method": method, "path": path}
    if content is not None:
        body["body_base64"] = b64encode(content).decode()
    if headers:
        body["headers"] = dict(headers)
    # What the service behind it does with a repetition is not for us to know, unless the method says so.
    repeatable = method in {"GET", "HEAD", "OPTIONS"}
    return Call("POST", f"/r/invoke/{segment(slug, 'the service')}", Invocation, body=body, repeatable=repeatable)
