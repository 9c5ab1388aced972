"""Shell completion scripts, made by shtab from the parsers of all commands."""

import argparse
from collections.abc import Sequence
from typing import Any

from bench.errors import UserError


class PrintCompletion(argparse.Action):
    """Print the completion script for a shell, then exit."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        """See the class; `values` is the name of the shell, UserError if it is not known."""
        from bench.cli import COMMANDS, command_module

        print(completion_script(str(values), {name: command_module(name) for name in COMMANDS}))
        parser.exit()


def completion_script(shell: str, commands: dict[str, Any]) -> str:
    """The script that completes `sam-bench` in a shell: commands, options, names and files.

    Args:
        shell: "bash", "zsh" or "tcsh".
        commands: word to module of each command.

    Raises:
        UserError: shtab does not know the shell.
    """
    import shtab

    from bench.cli.run import parser as main_parser
    from bench.plugins.registry import list_datasets, list_methods

    if shell not in shtab.SUPPORTED_SHELLS:
        known = ", ".join(shtab.SUPPORTED_SHELLS)
        raise UserError(f"--print-completion cannot be '{shell}': give one of {known}")
    methods = [method.name for method in list_methods()]
    datasets = [dataset.name for dataset in list_datasets()]
    parser = main_parser()
    parser.prog = "sam-bench"
    words = parser.add_subparsers(parser_class=argparse.ArgumentParser)
    for name, module in commands.items():
        command = module.parser()
        _offer(command, "--methods", methods)
        _offer(command, "--dataset", datasets)
        if name == "check-method":
            _offer(command, "name", methods)
        elif name == "check-dataset":
            _offer(command, "name", datasets)
        words.add_parser(name, help=command.description, parents=[command], add_help=False)
    _offer(parser, "--methods", methods)
    _offer(parser, "--dataset", datasets)
    _offer(parser, "--list", [*methods, *datasets])
    return str(shtab.complete(parser, shell))


def _offer(parser: argparse.ArgumentParser, name: str, choices: Sequence[str]) -> None:
    """Let an option or a positional argument be completed by these names.

    The parser is not used for parsing.
    """
    for action in parser._actions:
        if name in action.option_strings or (name == action.dest and not action.option_strings):
            action.choices = choices
