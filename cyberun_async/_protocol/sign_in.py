"""Getting credentials: a user's tokens, and the pairing of a device. (login, JWT, refresh token, device code)

Source: https://docs.cyberun.cloud/api-reference/auth/refresh-access-token and
https://docs.cyberun.cloud/api-reference/devicepair/start-a-desktop-pairing
"""

import attrs

from cyberun_async._protocol.call import Call
from cyberun_async._protocol.fields import redact_repr, wire
from cyberun_async._protocol.secret import Key


@redact_repr
@attrs.frozen(kw_only=True)
class TokenPair:
    """A user's tokens, as a login or a refresh gives them.

    Attributes:
        access_token: The JWT that requests are signed in with.
        refresh_token: What gets the next pair, once; `None` where the server leaves it out.
        expires_in: Seconds that the access token is good for; `None` where the server does not say.

    """

    access_token: str = wire(hidden="secret")
    refresh_token: str | None = wire(hidden="secret", default=None)
    expires_in: float | None = None


def refresh_tokens(refresh_token: Key) -> Call[TokenPair]:
    """Exchange a refresh token for a new pair; a refresh token is good for one time."""
    body = {"refresh_token": refresh_token.reveal()}
    return Call("POST", "/auth/refresh", TokenPair, body=body, repeatable=False)
