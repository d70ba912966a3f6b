"""The SDK's messages in the words of the command line: options and variables instead of arguments in Python."""

_INSTEAD = (
    ("set CYBERUN_API_KEY or pass api_key", "set CYBERUN_API_KEY, or name a file that holds it with --key-file"),
    ("use https://, or pass allow_insecure_http=True", "use https://"),
    ("give the key as api_key", "set CYBERUN_API_KEY instead"),
    ("pass team_id or set CYBERUN_TEAM_ID", "pass --team-id or set CYBERUN_TEAM_ID"),
    ("see client.wait_for_result()", "see cyberun-async wait"),
    (" (Limits.max_connections)", ""),
    (" (Limits.max_response_bytes)", ""),
    (" (Limits.max_event_bytes)", ""),
    ("base_url", "--base-url"),
    ("team_id", "--team-id"),
)


def in_words_of_the_command_line(message: str) -> str:
    """Replace what a message says for Python by what can be typed."""
    for python, typed in _INSTEAD:
        message = message.replace(python, typed)
    return message
