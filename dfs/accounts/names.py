"""Pure: how users and groups may be called."""

import re
from typing import Final

from dfs.base.errors import BadRequest

_NAME: Final = re.compile(r"[a-z_][a-z0-9._-]{0,31}")


def is_name(text: str) -> bool:
    """Whether a user or group can have that name."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str, *, of: str) -> str:
    """The name, if a user or group can have it.

    Args:
        of: what it is to name, as the message says it (`user`, `group`).

    Raises:
        BadRequest: it is not such a name.
    """
    if not is_name(text):
        raise BadRequest(
            f"not a {of} name: {text[:64]!r}",
            hint="1 to 32 of a-z 0-9 . _ - beginning with a letter or _ (lower case), like ada.l",
        )
    return text
