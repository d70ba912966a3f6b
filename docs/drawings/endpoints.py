"""Every documented endpoint, and where it is in the SDK, or why it is not."""

from __future__ import annotations

from typing import NamedTuple

DOCS = "https://docs.cyberun.cloud/"

MANAGED = "managed on the website; `client.request()` sends it"
JWT_ONLY = "takes a signed-in user's token (JWT) alone, and belongs to the website; `client.request()` sends it"
HALF = "its further steps are not documented"


class Endpoint(NamedTuple):
    """A documented endpoint.

    Attributes:
        method: The HTTP method.
        path: Below the base URL.
        page: The page that documents it, below the documentation's address.
        sdk: The methods of the SDK that send it.
        why: Why there is none.

    """

    method: str
    path: str
    page: str
    sdk: tuple[str, ...] = ()
    why: str = ""


ENDPOINTS = (
    Endpoint("GET", "/r/workflows", "cloud/guides/api-key", ("workflows.list",)),
    Endpoint("GET", "/r/workflows/{workflowId}", "cloud/guides/api-key", ("workflows.get",)),
    Endpoint("GET", "/r/workflows/slug/{workflowSlug}", "api-reference/quickstart", ("workflows.get",)),
    Endpoint(
        "POST",
        "/r/workflows/{workflowId}/run",
        "api-reference/task/execute-a-workflow-by-id",
        ("workflows.run", "submit", "run", "map", "submit_once"),
    ),
    Endpoint(
        "POST",
        "/r/workflows/slug/{workflowSlug}/run",
        "api-reference/quickstart",
        ("workflows.run", "submit", "run", "map", "submit_once"),
    ),
    Endpoint("GET", "/r/tasks", "api-reference/task/list-tasks", ("tasks.list", "ping")),
    Endpoint(
        "GET", "/r/tasks/{taskId}", "api-reference/task/get-task-status", ("tasks.get", "events", "wait_for_result")
    ),
    Endpoint("GET", "/r/tasks/{taskId}/result", "api-reference/task/get-task-result", ("tasks.result",)),
    Endpoint(
        "GET", "/r/tasks/{taskId}/events", "api-reference/task/stream-task-events-sse", ("events", "wait_for_result")
    ),
    Endpoint("POST", "/r/tasks/{taskId}/cancel", "api-reference/task/cancel-a-task", ("tasks.cancel",)),
    Endpoint(
        "POST", "/r/files/presign", "api-reference/file/request-a-presigned-upload-url", ("files.presign", "upload")
    ),
    Endpoint("GET", "/r/agents", "cloud/guides/api-key", ("agents.list",)),
    Endpoint("GET", "/r/containers", "api-reference/containers", ("containers.list",)),
    Endpoint(
        "GET",
        "/r/containers/{serviceSlug}",
        "api-reference/container/get-a-container-service-by-slug-runtime",
        ("containers.get",),
    ),
    Endpoint("ANY", "/r/containers/{serviceSlug}/*", "api-reference/containers", ("containers.stream",)),
    Endpoint(
        "POST",
        "/r/invoke/{serviceSlug}",
        "api-reference/container/invoke-a-container-service-runtime",
        ("containers.invoke",),
    ),
    Endpoint("POST", "/webhooks", "api-reference/webhook/create-a-webhook-for-a-team", ("webhooks.create",)),
    Endpoint("GET", "/webhooks/{webhookId}", "api-reference/webhook/get-webhook-details", ("webhooks.get",)),
    Endpoint("PUT", "/webhooks/{webhookId}", "api-reference/webhook/update-a-webhook", ("webhooks.update",)),
    Endpoint(
        "POST",
        "/webhooks/{webhookId}/rotate-secret",
        "api-reference/webhook/rotate-webhook-signing-secret",
        ("webhooks.rotate_secret",),
    ),
    Endpoint("GET", "/users/me", "api-reference/user/get-current-user-profile", ("users.me",)),
    Endpoint("POST", "/auth/refresh", "api-reference/auth/refresh-access-token", ("RefreshingToken",)),
    Endpoint(
        "POST", "/desktop/pair/start", "api-reference/devicepair/start-a-desktop-pairing", ("cyberun-async login",)
    ),
    Endpoint(
        "POST",
        "/desktop/pair/poll",
        "api-reference/devicepair/poll-for-desktop-pairing-approval",
        ("cyberun-async login",),
    ),
    Endpoint("POST", "/auth/device/revoke", "platform/identity", ("cyberun-async logout",)),
    Endpoint(
        "POST",
        "/auth/login",
        "api-reference/auth/login-with-email-and-password",
        why="a program should hold no password: sign in by `cyberun-async login`, or use a key",
    ),
    Endpoint("POST", "/auth/oauth/exchange-code", "api-reference/auth/exchange-oauth-login-code", why=JWT_ONLY),
    Endpoint("POST", "/desktop/pair/confirm", "api-reference/devicepair/confirm-a-desktop-pairing", why=JWT_ONLY),
    Endpoint("PUT", "/users/me/password", "api-reference/user/change-current-user-password", why=JWT_ONLY),
    Endpoint("PUT", "/teams/current", "api-reference/team/update-team", why=MANAGED),
    Endpoint("POST", "/teams/current/transfer", "api-reference/team/transfer-team-ownership", why=MANAGED),
    Endpoint("DELETE", "/members/{userId}", "api-reference/member/remove-a-member-from-the-team", why=MANAGED),
    Endpoint("POST", "/invitations", "api-reference/invitation/invite-a-user-to-the-team", why=MANAGED),
    Endpoint("GET", "/invitations", "api-reference/invitation/list-pending-invitations-for-a-team", why=MANAGED),
    Endpoint("POST", "/credentials", "api-reference/credential/create-a-credential", why=JWT_ONLY),
    Endpoint("GET", "/credentials", "api-reference/credential/list-credentials", why=JWT_ONLY),
    Endpoint("DELETE", "/credentials/{credentialId}", "api-reference/credential/revoke-a-credential", why=JWT_ONLY),
    Endpoint("GET", "/workflows/{workflowId}", "api-reference/workflow/get-workflow-details", why=MANAGED),
    Endpoint("PUT", "/workflows/{workflowId}", "api-reference/workflow/update-a-workflow", why=MANAGED),
    Endpoint("POST", "/workflows/import", "api-reference/workflow/import-a-workflow", why=MANAGED),
    Endpoint(
        "GET",
        "/agents",
        "api-reference/agent/list-connected-agents",
        why="`client.agents.list()` reads the same from `/r/agents`, with every key",
    ),
    Endpoint("POST", "/agents/{agentId}/tunnel", "api-reference/agent/open-tunnel", why=MANAGED),
    Endpoint("GET", "/agents/{agentId}/tunnel", "api-reference/agent/get-tunnel-status", why=MANAGED),
    Endpoint("POST", "/containers", "api-reference/container/create-a-container-service-definition", why=MANAGED),
    Endpoint("PUT", "/containers/{serviceId}", "api-reference/containers", why=MANAGED),
    Endpoint("POST", "/containers/{serviceId}/undeploy", "api-reference/containers", why=MANAGED),
    Endpoint(
        "PUT", "/cloud-providers/comfy-cloud", "api-reference/cloudprovider/set-comfyui-cloud-api-key", why=MANAGED
    ),
    Endpoint(
        "GET",
        "/cloud-providers/comfy-cloud",
        "api-reference/cloudprovider/get-comfyui-cloud-credential-status",
        why=MANAGED,
    ),
    Endpoint(
        "POST",
        "/models/presign",
        "api-reference/model/request-a-presigned-upload-url-for-a-model-file",
        why=f"a model's upload is managed on the website, and for large files {HALF}",
    ),
    Endpoint("POST", "/models", "api-reference/model/register-a-model-after-uploading", why=MANAGED),
    Endpoint("GET", "/models/{modelId}", "api-reference/model/get-model-details", why=MANAGED),
    Endpoint(
        "POST",
        "/uploads/multipart/initiate",
        "api-reference/upload/initiate-a-multipart-upload",
        why=f"takes a user's token (JWT) alone, and {HALF}",
    ),
    Endpoint(
        "POST",
        "/mcp",
        "mcp/cloud",
        why="the Model Context Protocol, for which language models have clients of their own",
    ),
)


def draw() -> str:
    """Write one row for each endpoint."""
    lines = ["| endpoint | in the SDK, or why not |", "| --- | --- |"]
    for each in ENDPOINTS:
        where = ", ".join(f"`{_name(name)}`" for name in each.sdk) or each.why
        lines.append(f"| [`{each.method} {each.path}`]({DOCS}{each.page}) | {where} |")
    return "\n".join(lines)


def _name(name: str) -> str:
    return name if name.startswith(("cyberun-async", "RefreshingToken")) else f"client.{name}()"
