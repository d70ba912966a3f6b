"""Getting credentials: a user's tokens, and the pairing of a device. (login, JWT, refresh token, device code)

Source: https://docs.cyberun.cloud/api-reference/auth/refresh-access-token and
https://docs.cyberun.cloud/api-reference/devicepair/start-a-desktop-pairing
"""

from types import NoneType

import attrs

from cyberun_async._protocol.call import Call
from cyberun_async._protocol.fields import redact_repr, wire
from cyberun_async._protocol.secret import Key


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
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


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class Pairing:
    """A pairing that waits for its approval.

    Source: https://docs.cyberun.cloud/api-reference/devicepair/start-a-desktop-pairing

    Attributes:
        device_code: What the device polls with.
        user_code: What a signed-in user enters to approve it, such as `ABCD-1234`.
        verification_uri: Where they do; `None` where the server leaves it out.
        expires_in: Seconds that the code is good for.
        interval: Seconds between two polls.

    """

    device_code: str = wire(hidden="secret")
    user_code: str
    verification_uri: str | None = None
    expires_in: float = 300.0
    interval: float = 2.0


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class PairingPoll:
    """What has become of a pairing.

    Source: https://docs.cyberun.cloud/api-reference/devicepair/poll-for-desktop-pairing-approval

    Attributes:
        status: `pending` or `approved`.
        raw_key: The device's key, once it is approved; it is given one time.

    """

    status: str
    raw_key: str | None = wire(hidden="secret", default=None)


def start_pairing() -> Call[Pairing]:
    """Ask for a code with which a user approves this device."""
    return Call("POST", "/desktop/pair/start", Pairing)


def poll_pairing(device_code: Key) -> Call[PairingPoll]:
    """Ask whether a pairing was approved; the response that says so is the only one that has the key."""
    return Call("POST", "/desktop/pair/poll", PairingPoll, body={"device_code": device_code.reveal()}, repeatable=False)


def revoke_device() -> Call[None]:
    """Have a device key revoke itself, and its companion agent key."""
    return Call("POST", "/auth/device/revoke", NoneType)
