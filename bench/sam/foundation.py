"""Tell parameters of the foundation model from those that a method adds."""

from torch import nn


class FoundationParameter(nn.Parameter):
    """A parameter of the foundation model; copies made by `copy.deepcopy` have this class, too.

    Models on the meta device carry it, where they are counted. It belongs to the object: a method
    may move the parameter to another module or give it another name.
    """


def mark_foundation(module: nn.Module) -> None:
    """Replace all parameters of `module` by parameters of the class `FoundationParameter`.

    Values and `requires_grad` stay. Optimisers and others that hold the old objects keep those.
    """
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, FoundationParameter(parameter.data, parameter.requires_grad))


def count_added(module: nn.Module) -> int:
    """Number of values in all parameters, frozen or not, that are not a `FoundationParameter`.

    Args:
        module: a method's model on the meta device, where `load_sam` marks its parameters. On other
            devices it does not mark them, so all would count.
    """
    return sum(p.numel() for p in module.parameters() if not isinstance(p, FoundationParameter))
