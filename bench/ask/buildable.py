"""Whether the models of a cell can be built: wrong options end a request before it runs."""

from collections.abc import Mapping

from bench.ask.proposer import proposer_cell
from bench.errors import UserError
from bench.plugins.registry import Method, get_method
from bench.spec import Cell, Task


def check_models(cell: Cell) -> None:
    """Build the model of a cell, and that of its proposer, on the meta device.

    What the method does not support is no error here, and neither is a bug of it: its cells record
    the reason, and other cells can run.

    Args:
        cell: its recipe names the proposer.

    Raises:
        UserError: an option of a method is out of range, or the image size does not suit it.
    """
    _build(get_method(cell.method), cell.options, cell.task)
    if cell.recipe.proposer:
        other = proposer_cell(cell)
        _build(get_method(other.method), other.options, other.task)


def _build(method: Method, options: Mapping[str, object], task: Task) -> None:
    import torch

    from bench.sam.surgery import require_size

    try:
        with torch.device("meta"):
            module = method.build(task, **options)
    except UserError:
        raise
    except Exception:
        return  # unsupported, or a bug
    require_size(module, method.name)
