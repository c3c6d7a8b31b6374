"""Verbs that help to type the others: help, completion, shell."""

from __future__ import annotations

import argparse
from typing import Final

from dfs.base.errors import BadRequest
from dfs.cli.arguments import Offer, offering
from dfs.cli.completion_scripts import SCRIPTS
from dfs.cli.grammar import find_verb, help_of_first_word, parser_of, program_help
from dfs.cli.verbs import Context, Example, Verb
from dfs.observe.exit_codes import EXIT_DONE

GROUP: Final = "help and comfort"


def _help_arguments(parser: argparse.ArgumentParser) -> None:
    verb = parser.add_argument("verb", nargs="*", metavar="VERB", help="which (default: all)")
    offering(verb, Offer.VERB)


def _help(context: Context) -> int:
    words = context.args.verb
    if not words:
        context.out.raw(program_help(context.program))
        return EXIT_DONE
    first = help_of_first_word(context.program, words[0])
    if first and len(words) == 1 and words[0] not in context.program.verbs:
        context.out.raw(first)
        return EXIT_DONE
    verb, rest = find_verb(context.program, words)
    if rest:
        raise BadRequest(f"no such verb: {' '.join(words)}", hint=f"see: {context.program.name} -h")
    context.out.raw(parser_of(context.program, verb).format_help())
    return EXIT_DONE


def _completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=sorted(SCRIPTS), help="your shell")


def _completion(context: Context) -> int:
    """The script alone, whatever was asked: it is made to be read by a shell."""
    script = SCRIPTS[context.args.shell]
    context.out.stdout.write(script.replace("@program@", context.program.name))
    return EXIT_DONE


def _shell_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--command", metavar="LINE", help="run this line and leave")


def _shell(context: Context) -> int:
    from dfs.cli.shell import run_shell  # noqa: PLC0415 - start-up time

    return run_shell(context)


def _help_verb(program: str) -> Verb:
    return Verb(
        name="help",
        group=GROUP,
        summary="Explain a verb",
        arguments=_help_arguments,
        run=_help,
        examples=(Example(f"{program} help", "every verb in a line"),),
        exits=(),
    )


def _completion_verb(program: str) -> Verb:
    return Verb(
        name="completion",
        group=GROUP,
        summary="Print the completion script for bash or zsh",
        description="Completes verbs, options, remote paths (while logged in) and local ones.",
        arguments=_completion_arguments,
        run=_completion,
        examples=(
            Example(f'eval "$({program} completion bash)"', "in ~/.bashrc"),
            Example(f'eval "$({program} completion zsh)"', "in ~/.zshrc, after compinit"),
        ),
        exits=(),
    )


SHELL: Final = Verb(
    name="shell",
    group=GROUP,
    summary="Work in DFS interactively",
    description="The same verbs without `dfs` before them, with a working directory (cd, pwd,\n"
    "and lcd, lpwd for the local one), completion by TAB and history.",
    arguments=_shell_arguments,
    run=_shell,
    examples=(
        Example("dfs shell", "until exit or ^D"),
        Example("dfs shell < script", "a file of commands; stops at the first that fails"),
    ),
)

VERBS: Final = (SHELL, _completion_verb("dfs"), _help_verb("dfs"))
ADMIN_VERBS: Final = (_completion_verb("dfs-admin"), _help_verb("dfs-admin"))
