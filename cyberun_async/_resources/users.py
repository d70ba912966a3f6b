"""The user who is signed in."""

from cyberun_async._protocol.users import User, get_current_user
from cyberun_async._resources.group import Group


class Users(Group):
    """The user who is signed in, as `client.users`."""

    async def me(self) -> User:
        """Read the user that the token (JWT) or device key (`dk-`) belongs to, with their teams and what they may use.

        ```python
        user = await client.users.me()
        print(user.email, user.feature_flags)
        ```

        Raises:
            PermissionDeniedError: The key is an `sk-` key, which belongs to a team and no user.
            APIError: The server responded with another error.
            TransportError: The server did not respond.

        Source: https://docs.cyberun.cloud/api-reference/user/get-current-user-profile

        """
        return await self._transport.send(get_current_user())
