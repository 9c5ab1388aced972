"""The proposer of a cell: the method whose model finds the objects that another one segments."""

from dataclasses import replace

from bench.ask.method_words import Options, parse_methods
from bench.errors import UserError
from bench.plugins.registry import Method
from bench.spec import Cell, Recipe, Task

RULE = "distances"  # how the proposer finds objects


def read_proposer(text: str) -> tuple[Method, Options]:
    """The method of a proposer, with the options that differ from its defaults.

    Args:
        text: of `--proposer`, in the language of `--methods`.

    Raises:
        UserError: it is not one method, or one that takes prompts or trains nothing.
    """
    methods = parse_methods(text)
    if len(methods) != 1:
        raise UserError(f"--proposer is {text}: give one method with one value of each option")
    method, typed = methods[0]
    if method.prompts != "none" or method.lr is None:
        reason = "takes prompts itself" if method.prompts != "none" else "trains nothing"
        raise UserError(f"--proposer {text} {reason}: give a method that learns, such as lora")
    return method, {key: value for key, value in typed.items() if value != method.options[key]}


def label_of_proposer(text: str) -> str:
    """The proposer as in the id of a cell: options that equal the defaults are left out.

    Raises:
        UserError: as `read_proposer`.
    """
    method, options = read_proposer(text)
    return Cell(method.name, "", Task(2), Recipe(lr=0.0), options).label


def proposer_cell(cell: Cell) -> Cell:
    """The cell of a proposer alone: all settings equal but the method, its rate and `RULE`.

    Args:
        cell: its recipe names a proposer.

    Raises:
        UserError: as `read_proposer`.
    """
    method, options = read_proposer(cell.recipe.proposer)
    assert method.lr is not None, "read_proposer refuses methods without a rate"
    recipe = replace(cell.recipe, lr=method.lr, evaluation="whole", objects=RULE, proposer="")
    task, weights_sha = cell.task, cell.weights_sha
    if method.from_scratch:
        task, weights_sha = replace(task, backbone="none", weights="random"), ""
    return replace(
        cell,
        method=method.name,
        options=options,
        recipe=recipe,
        task=task,
        weights_sha=weights_sha,
    )
