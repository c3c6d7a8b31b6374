"""Pure: what a NameNode that does not lead tells of the one that does."""

from typing import Final, NamedTuple

from dfs.base.errors import DfsError

NAMENODES_MAX: Final = 16  # told of, or known to anybody who asks
_URL_CHARACTERS_MAX: Final = 300
_SCHEMES: Final = ("http://", "https://")


class Lead(NamedTuple):
    """Who leads, and who there is to ask.

    Attributes:
        leader: its base URL; empty when nobody is known to lead.
        namenodes: the base URLs of all.
    """

    leader: str
    namenodes: tuple[str, ...]


def lead_of(error: DfsError) -> Lead:
    """What that `NotLeader` tells; what is no address in it is left out."""
    named = error.details.get("namenodes")
    several = base_urls(named if isinstance(named, list | tuple) else ())
    leader = base_urls((error.details.get("leader"),))
    return Lead(leader[0] if leader else "", several)


def base_urls(named: object) -> tuple[str, ...]:
    """Those of them that are addresses a request could be sent to, as they are compared."""
    if not isinstance(named, list | tuple):
        return ()
    found = [each.rstrip("/") for each in named if isinstance(each, str) and _is_url(each)]
    return tuple(dict.fromkeys(found))[:NAMENODES_MAX]


def _is_url(text: str) -> bool:
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and len(text) <= _URL_CHARACTERS_MAX and text.startswith(_SCHEMES)
