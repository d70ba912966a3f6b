"""What belongs to one key or user, whichever view of a client sends: signing in, rate limits, what was just submitted.

`authorize` puts the key into a request; no other place sends it. Logs and messages of the layers below are cleared of
it by `log_redaction.py` and `_protocol/redaction.py`.
"""

import httpx

from cyberun_async._protocol.secret import NO_KEY, Key
from cyberun_async._settings import Settings
from cyberun_async._transport.rate_limit import RateLimitPause
from cyberun_async._transport.recent_submissions import RecentSubmissions
from cyberun_async._transport.sign_in import SignIn


class Credential:
    """How requests are signed in, and what the server has said to them.

    Attributes:
        sign_in: Gives the token of a request.
        rate_limit: The pause after a 429.
        recent: The tasks that were submitted a moment ago.
        has_answered: Whether the API has responded to a call, or opened a stream, so that it can be reached with this.

    """

    def __init__(self, settings: Settings) -> None:
        self.sign_in: SignIn = SignIn(settings.token, within=settings.timeouts.call)
        self.rate_limit: RateLimitPause = RateLimitPause()
        self.recent: RecentSubmissions = RecentSubmissions()
        self.has_answered: bool = False

    def __repr__(self) -> str:
        """Show how it is with the server, and never the key."""
        return f"<{type(self).__name__}: has {'' if self.has_answered else 'not '}answered, {self.rate_limit!r}>"


def authorize(request: httpx.Request, settings: Settings, token: Key) -> None:
    """Sign a request in: set the key's header, and those that a gateway in front of the API wants."""
    for name, value in settings.headers:
        request.headers[name] = value.reveal()
    if token is not NO_KEY:
        request.headers["Authorization"] = f"Bearer {token.reveal()}"
