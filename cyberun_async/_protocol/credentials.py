"""What a key's prefix says it may do.

Source: https://docs.cyberun.cloud/cloud/concepts/credentials and
https://docs.cyberun.cloud/api-reference.
"""

from cyberun_async._errors import ConfigurationError


def check_key(key: str) -> str:
    """Give the key back if it can be sent.

    Raises:
        ConfigurationError: It is no string, is empty, has a character that no header can carry, or is of the
            family that the REST API rejects. The message never repeats the key.

    """
    if not isinstance(key, str):
        message = f"the API key must be a string, not {type(key).__name__}"
        raise ConfigurationError(message)
    if not key:
        raise ConfigurationError("the API key is empty: set CYBERUN_API_KEY or pass api_key")
    if not key.isascii() or not key.isprintable() or " " in key:
        message = (
            "the API key contains white space, control or non-ASCII characters: copy it again, without line breaks"
        )
        raise ConfigurationError(message)
    if key.startswith("ak-"):
        message = (
            "an ak- key signs agents in at the gateway, and the REST API rejects it: "
            "make an sk- key on the Access page of Cyberun Cloud"
        )
        raise ConfigurationError(message)
    return key


def is_bound_to_team(key: str) -> bool:
    """Whether the server knows the team from the key itself, so that no team is sent."""
    return key.startswith(("sk-", "dk-"))


def check_team(key: str | None, team_id: str | None) -> str | None:
    """Give the team id to send with this key; `None` stands for a key from a provider.

    Raises:
        ConfigurationError: A user's token needs a team id, and there is none.

    """
    if key is not None and is_bound_to_team(key):
        return None
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
