"""Verbs of one's own account: register, login, logout, whoami, passwd."""

from __future__ import annotations

import argparse
from typing import Final

from dfs.base.errors import BadRequest
from dfs.cli import render
from dfs.cli.output import is_terminal
from dfs.cli.passwords import password_argument, read_new_password, read_password
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_DONE

GROUP: Final = "account"


def _name_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="user name (else asked for)")
    parser.add_argument(
        "--bind-address",
        action="store_true",
        help="the session works from this computer's address alone",
    )
    password_argument(parser)


def _name(context: Context) -> str:
    if context.args.name:
        return str(context.args.name)
    if context.args.password_stdin or not is_terminal(context.stdin):
        raise BadRequest("no user name given")
    context.out.stderr.write("User name: ")
    context.out.stderr.flush()
    name = context.stdin.readline(1_000).strip()
    if not name:
        raise BadRequest("no user name given")
    return name


def _register(context: Context) -> int:
    name = _name(context)
    password = read_new_password(context, f"New password for {name}: ")
    context.client.register(name, password)
    return _log_in(context, name, password, f"registered and logged in as {name}")


def _login(context: Context) -> int:
    name = _name(context)
    return _log_in(context, name, read_password(context, f"Password for {name}: "), "")


def _log_in(context: Context, name: str, password: str, text: str) -> int:
    reply = context.client.login(name, password, bind_address=context.args.bind_address)
    context.place.directory = None  # relative paths are another user's from now on
    context.out.document(
        {
            "user": reply.user,
            "expires_ms": reply.expires_ms,
            "must_change_password": reply.must_change_password,
        }
    )
    until = render.local_time(reply.expires_ms)
    context.out.line(f"{text or f'logged in as {reply.user}'} (until {until})")
    if reply.must_change_password:
        context.out.note("this password works once: set your own with: dfs passwd")
    return EXIT_DONE


def _logout_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--everywhere", action="store_true", help="end the sessions on other computers too"
    )


def _logout(context: Context) -> int:
    context.client.logout(everywhere=context.args.everywhere)
    context.place.directory = None
    context.out.answer({"done": True}, "logged out")
    return EXIT_DONE


def _whoami(context: Context) -> int:
    me = context.client.whoami()
    context.out.answer(me, me.user)
    context.out.detail(f"groups:  {', '.join(me.groups) or render.NOTHING}")
    if me.superuser:
        context.out.detail("rights:  superuser")
    context.out.detail(f"address: {me.address or render.NOTHING}")
    context.out.detail(f"until:   {render.local_time(me.expires_ms)}")
    if me.must_change_password:
        context.out.note("a new password is due: dfs passwd")
    return EXIT_DONE


def _passwd_arguments(parser: argparse.ArgumentParser) -> None:
    password_argument(parser, lines="the old and the new password, a line each,")


def _passwd(context: Context) -> int:
    context.client.whoami()  # refuses before anything is asked, not after
    old = read_password(context, "Old password: ")
    new = read_new_password(context, "New password: ")
    ended = context.client.passwd(new, old=old)
    also = f"; {render.count(ended, 'other session')} ended" if ended else ""
    context.out.answer({"sessions_ended": ended}, f"password changed{also}")
    return EXIT_DONE


VERBS: Final = (
    Verb(
        name="register",
        group=GROUP,
        summary="Make an account and log in",
        description="Where registration is closed, administrators make accounts.",
        arguments=_name_argument,
        run=_register,
        examples=(
            Example("dfs register alice", "asks for a password twice"),
            Example("dfs register bot --password-stdin < secret", "in a script"),
        ),
        exits=(*ONLINE, EXIT_CONFLICT),
    ),
    Verb(
        name="login",
        group=GROUP,
        summary="Log in; later commands use the session",
        description="The session is kept in your credentials file, readable by you alone.",
        arguments=_name_argument,
        run=_login,
        examples=(Example("dfs login alice", "asks for the password"),),
    ),
    Verb(
        name="logout",
        group=GROUP,
        summary="End the session",
        arguments=_logout_arguments,
        run=_logout,
        examples=(Example("dfs logout --everywhere", "sessions on other computers too"),),
    ),
    Verb(
        name="whoami",
        group=GROUP,
        summary="Show who is logged in",
        run=_whoami,
        examples=(Example("dfs whoami -v", "with groups, address and end of the session"),),
    ),
    Verb(
        name="passwd",
        group=GROUP,
        summary="Change your password",
        description="Your other sessions end.  Administrators set others': dfs-admin users passwd",
        arguments=_passwd_arguments,
        run=_passwd,
        examples=(Example("dfs passwd", "asks for the old and the new one"),),
    ),
)
