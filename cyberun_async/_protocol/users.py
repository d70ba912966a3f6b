"""The user that a token or a device key belongs to, and the call that asks for it. (whoami, profile)"""

from collections.abc import Mapping

import attrs

from cyberun_async._protocol.call import Call
from cyberun_async._protocol.fields import extra_field, redact_repr, wire
from cyberun_async._protocol.record import Record


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class User(Record):
    """A user of Cyberun Cloud.

    Every field but `id` is `None` or empty where the server leaves it out.

    Source: https://docs.cyberun.cloud/api-reference/user/get-current-user-profile

    Attributes:
        id: Their UUID.
        first_name: Their first name.
        last_name: Their last name.
        display_name: Their name for people.
        email: Their e-mail address.
        teams: The teams that they belong to, as the server describes them.
        feature_flags: What they, their teams and the deployment may use, as the server describes it.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    id: str
    first_name: str | None = None
    last_name: str | None = None
    display_name: str | None = None
    email: str | None = wire("email_address", default=None)
    teams: tuple[object, ...] = wire("team_list", default=())
    feature_flags: Mapping[str, object] = attrs.field(factory=dict)
    extra: Mapping[str, object] = extra_field()


def get_current_user() -> Call[User]:
    """Ask for the user whose token or device key signs the request in."""
    return Call("GET", "/users/me", User)
