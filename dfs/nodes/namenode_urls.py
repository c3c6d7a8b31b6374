"""Pure: to which NameNodes a DataNode beats.

Those that are configured are where it begins; which there are, the leader tells.  A NameNode that
is spoken to under two names would take two accounts of the same stock for one, and miss what each
of them leaves out.  So a configured address that the leader does not name rests while the leader is
heard at one that it does name, and is asked again as soon as it is not.
"""

from collections.abc import Iterable, Sequence

from dfs.wire.leading import NAMENODES_MAX, base_urls


def taught_by(
    giver: str, urls: Sequence[str], *, configured: Sequence[str], before: tuple[str, ...]
) -> tuple[str, ...]:
    """The NameNodes there are besides those that are configured, after the leader named some.

    One that names nobody says nothing.  One that names a single NameNode means itself, by an
    address that may be none from here: it is enough that it was reached.
    """
    named = base_urls(tuple(urls))
    if len(named) > 1:
        return named
    if not named:
        return before
    return () if giver in configured else (giver,)


def wanted(
    configured: Sequence[str], told: Sequence[str], *, leading: Iterable[str]
) -> tuple[str, ...]:
    """Whom to beat to.

    Args:
        told: that the leader named, as `taught_by` has it.
        leading: the addresses at which the leader is heard; none while it is not.
    """
    rest = len(told) > 1 and not set(leading).isdisjoint(told)
    begin = [url for url in configured if url in told or not rest]
    return tuple(dict.fromkeys((*begin, *told)))[:NAMENODES_MAX]
