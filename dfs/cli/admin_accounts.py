"""Verbs of `dfs-admin` on accounts: users, groups, sessions, audit."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Final

from dfs.cli import render
from dfs.cli.arguments import count_argument
from dfs.cli.passwords import password_argument, read_new_password
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_DONE, EXIT_NOT_FOUND

GROUP: Final = "accounts"
CHANGES: Final = (*ONLINE, EXIT_NOT_FOUND)
AUDIT_FIELDS: Final = ("user", "address", "action", "outcome")


# --- users --------------------------------------------------------------------------------------


def _users(context: Context) -> int:
    from dfs.wire.routes import USERS  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    headings = ("NAME", "GROUPS", "RIGHTS", "STATE", "SESSIONS", "SINCE")
    with context.out.table(headings, right=(4,)) as table:
        for user in context.call(USERS, Nothing()).users:
            table.row(
                user,
                user.name,
                ",".join(user.groups) or render.NOTHING,
                "superuser" if user.superuser else "user",
                "disabled" if user.disabled else "enabled",
                str(user.sessions),
                render.local_time(user.created_ms),
            )
    return EXIT_DONE


def _user_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="user name")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    _user_argument(parser)
    password_argument(parser)


def _add(context: Context) -> int:
    from dfs.wire.accounts_api import AddUserRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import ADD_USER  # noqa: PLC0415

    name = context.args.name
    chosen = read_new_password(context, "") if context.args.password_stdin else ""
    reply = context.call(ADD_USER, AddUserRequest(name=name, password=chosen))
    context.out.document({"name": name, "one_time_password": reply.one_time_password})
    if reply.one_time_password:
        context.out.line(f"added {name}; one-time password: {reply.one_time_password}")
        context.out.note(
            f"{name} logs in with it (dfs login {name}), then sets another: dfs passwd"
        )
    else:
        context.out.line(f"added {name}")
    return EXIT_DONE


def _remove(context: Context) -> int:
    from dfs.wire.routes import REMOVE_USER  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import NameRequest  # noqa: PLC0415

    context.call(REMOVE_USER, NameRequest(name=context.args.name))
    context.out.answer({"name": context.args.name, "removed": True}, f"removed {context.args.name}")
    return EXIT_DONE


def _enable(context: Context) -> int:
    return _set_state(context, disabled=False)


def _disable(context: Context) -> int:
    return _set_state(context, disabled=True)


def _set_state(context: Context, *, disabled: bool) -> int:
    from dfs.wire.accounts_api import UserStateRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import SET_USER_STATE  # noqa: PLC0415

    name = context.args.name
    context.call(SET_USER_STATE, UserStateRequest(name=name, disabled=disabled))
    word = "disabled" if disabled else "enabled"
    context.out.answer({"name": name, "disabled": disabled}, f"{name} is {word}")
    return EXIT_DONE


def _passwd(context: Context) -> int:
    name = context.args.name
    new = read_new_password(context, f"New password for {name}: ")
    ended = context.client.passwd(new, name=name)
    context.out.answer(
        {"name": name, "sessions_ended": ended},
        f"password of {name} changed; {render.count(ended, 'session')} ended",
    )
    return EXIT_DONE


# --- groups -------------------------------------------------------------------------------------


def _groups(context: Context) -> int:
    from dfs.wire.routes import GROUPS  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    with context.out.table(("GROUP", "MEMBERS")) as table:
        for group in context.call(GROUPS, Nothing()).groups:
            table.row(group, group.name, ",".join(group.members) or render.NOTHING)
    return EXIT_DONE


def _members_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("group", metavar="GROUP", help="group name")
    parser.add_argument("members", nargs="*", metavar="USER", help="who")


def _groups_add(context: Context) -> int:
    return _change_group(context, add=context.args.members, remove=[], word="added to")


def _groups_remove(context: Context) -> int:
    return _change_group(context, add=[], remove=context.args.members, word="removed from")


def _change_group(context: Context, *, add: list[str], remove: list[str], word: str) -> int:
    from dfs.wire.accounts_api import MembersRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import SET_MEMBERS  # noqa: PLC0415

    group = context.args.group
    context.call(SET_MEMBERS, MembersRequest(group=group, add=add, remove=remove))
    who = ", ".join(add or remove)
    text = f"{who} {word} {group}" if who else f"group {group} is there"
    context.out.answer({"group": group, "added": add, "removed": remove}, text)
    return EXIT_DONE


# --- sessions and audit -------------------------------------------------------------------------


def _sessions(context: Context) -> int:
    from dfs.wire.routes import SESSIONS  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    headings = ("SESSION", "USER", "ADDRESS", "BOUND", "SINCE", "LAST USED", "UNTIL")
    with context.out.table(headings, right=(0,)) as table:
        for session in context.call(SESSIONS, Nothing()).sessions:
            table.row(
                session,
                str(session.session),
                session.user,
                session.address,
                "yes" if session.bound else "no",
                render.local_time(session.created_ms),
                render.local_time(session.last_used_ms),
                render.local_time(session.expires_ms),
            )
    return EXIT_DONE


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", default="", metavar="NAME", help="what this user did")
    parser.add_argument(
        "-n", "--limit", type=count_argument, default=100, metavar="N", help="newest N (100)"
    )


def _audit(context: Context) -> int:
    """The newest line last, as a log is read; programs get them newest first, as stored."""
    from dfs.wire.nodes_api import AuditRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import AUDIT  # noqa: PLC0415

    request = AuditRequest(user=context.args.user, limit=context.args.limit)
    lines = context.call(AUDIT, request).lines
    if context.out.as_json:
        context.out.document(lines)
        return EXIT_DONE
    headings = ("TIME", "USER", "ADDRESS", "ACTION", "OUTCOME", "PATH AND FACTS")
    with context.out.table(headings) as table:
        for line in reversed(lines):
            table.row(None, *audit_cells(line))
    return EXIT_DONE


def audit_cells(line: Mapping[str, object]) -> tuple[str, ...]:
    """A line of the trail for people: the known fields in columns, other facts as key=value."""
    at_ms = line.get("at_ms")
    known = [str(line.get(key, "")) or render.NOTHING for key in AUDIT_FIELDS]
    rest = {
        key: value
        for key, value in line.items()
        if key not in (*AUDIT_FIELDS, "at_ms", "path") and value not in (None, "")
    }
    facts = [str(line.get("path", "")), *(f"{key}={_fact(value)}" for key, value in rest.items())]
    when = render.local_time_exact(at_ms) if isinstance(at_ms, int) else render.NOTHING
    return (when, *known, " ".join(filter(None, facts)))


def _fact(value: object) -> str:
    if isinstance(value, str):
        return value if value.isprintable() and " " not in value else json.dumps(value)
    return json.dumps(render.to_json(value), ensure_ascii=False)


VERBS: Final = (
    Verb(
        name="users",
        group=GROUP,
        summary="List who is registered",
        run=_users,
        examples=(Example("dfs-admin users", "with groups, rights and open sessions"),),
    ),
    Verb(
        name="users add",
        group=GROUP,
        summary="Make an account",
        description="Without --password-stdin a one-time password is made and shown once.",
        arguments=_add_arguments,
        run=_add,
        examples=(Example("dfs-admin users add alice", "prints the password to hand over"),),
        exits=(*ONLINE, EXIT_CONFLICT),
    ),
    Verb(
        name="users remove",
        group=GROUP,
        summary="Remove an account; its files stay",
        arguments=_user_argument,
        run=_remove,
        examples=(Example("dfs-admin users remove alice", "her sessions end"),),
        exits=(*CHANGES, EXIT_CONFLICT),
    ),
    Verb(
        name="users enable",
        group=GROUP,
        summary="Let a disabled account in again",
        arguments=_user_argument,
        run=_enable,
        examples=(Example("dfs-admin users enable alice", "she can log in again"),),
        exits=CHANGES,
    ),
    Verb(
        name="users disable",
        group=GROUP,
        summary="Keep an account out",
        arguments=_user_argument,
        run=_disable,
        examples=(Example("dfs-admin users disable alice", "her sessions end"),),
        exits=CHANGES,
    ),
    Verb(
        name="users passwd",
        group=GROUP,
        summary="Set somebody's password",
        arguments=_add_arguments,
        run=_passwd,
        examples=(Example("dfs-admin users passwd alice", "asks for the new one twice"),),
        exits=CHANGES,
    ),
    Verb(
        name="groups",
        group=GROUP,
        summary="List groups and their members",
        run=_groups,
        examples=(Example("dfs-admin groups", "members of supergroup are superusers"),),
    ),
    Verb(
        name="groups add",
        group=GROUP,
        summary="Put users into a group; a new group is made",
        arguments=_members_arguments,
        run=_groups_add,
        examples=(Example("dfs-admin groups add staff alice bob", "two members"),),
        exits=CHANGES,
    ),
    Verb(
        name="groups remove",
        group=GROUP,
        summary="Take users out of a group",
        arguments=_members_arguments,
        run=_groups_remove,
        examples=(Example("dfs-admin groups remove staff bob", "one less"),),
        exits=CHANGES,
    ),
    Verb(
        name="sessions",
        group=GROUP,
        summary="Show who is logged in, and from where",
        run=_sessions,
        examples=(Example("dfs-admin sessions", "everybody's"),),
    ),
    Verb(
        name="audit",
        group=GROUP,
        summary="Show the newest lines of the audit trail",
        arguments=_audit_arguments,
        run=_audit,
        examples=(Example("dfs-admin audit --user alice -n 20", "what she did last"),),
    ),
)
