"""Pure: who may do what to a file or directory, by owner, group and mode bits.

The rule is POSIX's and HDFS's: exactly one class of bits counts - the owner's for the owner, else
the group's for its members, else the others' - so an owner without a bit is not rescued by the
group.  The sticky bit of a directory keeps entries from everybody but their owner and the
directory's.  Superusers pass every check.  Walking ancestors is the namespace's business.
"""

from enum import IntFlag
from typing import Final

from dfs.base.records import Principal

STICKY: Final = 0o1000
MODE_MAX: Final = 0o1777


class Access(IntFlag):
    """What is wanted; values are those of one octal digit of a mode."""

    EXECUTE = 1  # pass through a directory
    WRITE = 2  # change a file, or the entries of a directory
    READ = 4  # read a file, or list a directory


def allows(who: Principal, *, owner: int, group: int, mode: int, access: Access) -> bool:
    """Whether `who` has every access asked for."""
    assert 0 <= mode <= MODE_MAX
    if who.is_superuser:
        return True
    wanted = int(access)  # plain numbers: this is asked at every step of every path
    return _class_bits(who, owner=owner, group=group, mode=mode) & wanted == wanted


def may_remove_entry(
    who: Principal,
    *,
    directory_owner: int,
    directory_group: int,
    directory_mode: int,
    entry_owner: int,
) -> bool:
    """Whether `who` may remove or rename an entry of a directory.

    It needs w and x on the directory and, where that is sticky, to own the entry or the directory.
    """
    writes = allows(
        who,
        owner=directory_owner,
        group=directory_group,
        mode=directory_mode,
        access=Access.WRITE | Access.EXECUTE,
    )
    unsticky = not directory_mode & STICKY or who.user in (entry_owner, directory_owner)
    return writes and (unsticky or who.is_superuser)


def owns(who: Principal, *, owner: int) -> bool:
    """Whether `who` may change what is the owner's to change: the mode, times, number of copies."""
    return who.is_superuser or who.user == owner


def may_set_owner(who: Principal) -> bool:
    """Whether `who` may give a file to another user: superusers alone."""
    return who.is_superuser


def may_set_group(who: Principal, *, owner: int, group: int) -> bool:
    """Whether `who` may set that group: superusers, and the owner to a group of their own."""
    return who.is_superuser or (who.user == owner and group in who.groups)


def _class_bits(who: Principal, *, owner: int, group: int, mode: int) -> int:
    if who.user == owner:
        return mode >> 6 & 7
    return (mode >> 3 if group in who.groups else mode) & 7
