"""What a key's prefix says it may do.

Source: https://docs.cyberun.cloud/cloud/concepts/credentials and
https://docs.cyberun.cloud/api-reference.
"""

from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.secret import Key


def check_key(key: object) -> Key:
    """Give the key back if it can be sent.

    Raises:
        ConfigurationError: It is no text, is empty, has a character that no header can carry, or is of the
            family that the REST API rejects. Neither the message nor a variable of a frame repeats the key.

    """
    if not isinstance(key, Key):
        message = f"the API key must be a string, not {type(key).__name__}"
        raise ConfigurationError(message)
    problem = _problem_of(key)
    if problem is not None:
        raise ConfigurationError(problem)
    return key


def _problem_of(key: Key) -> str | None:
    text = key.reveal()
    if not text:
        return "the API key is empty: set CYBERUN_API_KEY or pass api_key"
    if not text.isascii() or not text.isprintable() or " " in text:
        return "the API key contains white space, control or non-ASCII characters: copy it again, without line breaks"
    if text.startswith("ak-"):
        return (
            "an ak- key signs agents in at the gateway, and the REST API rejects it: "
            "make an sk- key on the Access page of Cyberun Cloud"
        )
    return None


def is_bound_to_team(key: Key) -> bool:
    """Whether the server knows the team from the key itself, so that no team is sent."""
    return key.startswith(("sk-", "dk-"))


def check_team(key: Key | None, team_id: str | None) -> str | None:
    """Give the team id to send with this key; `None` stands for a key from a provider.

    Raises:
        ConfigurationError: A user's token needs a team id, and there is none; or the key is of no known kind.

    """
    if key is not None and is_bound_to_team(key):
        return None
    if not team_id and key is not None and not key.startswith(("eyJ",)):
        message = (
            "the API key begins with none of sk- (an integration key), dk- (a device key) and eyJ (a user's token, JWT): "
            "copy it in full from the Access page of Cyberun Cloud"
        )
        raise ConfigurationError(message)
    if not team_id:
        message = (
            "a user's token (JWT) works on a team's resources, so it needs a team: "
            "pass team_id or set CYBERUN_TEAM_ID to the team's UUID"
        )
        raise ConfigurationError(message)
    if not isinstance(team_id, str):
        message = f"team_id must be a string, not {type(team_id).__name__}"
        raise ConfigurationError(message)
    if not team_id.isascii() or not team_id.isprintable() or " " in team_id:
        message = "team_id contains white space, control or non-ASCII characters: pass the team's UUID"
        raise ConfigurationError(message)
    return team_id
