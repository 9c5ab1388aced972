"""Whether a dataset has the labels that a rule for objects learns from."""

from bench.ask.request import Request
from bench.data.items import Collection
from bench.errors import UserError
from bench.objects.rules import get_rule


def check_object_labels(request: Request, collection: Collection) -> None:
    """Refuse to learn distances where no object is labelled one by one.

    Args:
        request: gives the rule, and the proposer, which learns distances, too.
        collection: the dataset that is trained on.

    Raises:
        UserError: the rule learns from instance maps, and no image has one.
    """
    if any(item.instances is not None for item in collection.items):
        return
    if request.proposer is not None:
        raise UserError(
            f"--proposer {request.proposer} learns from objects that are labelled one by one, and"
            f" '{collection.name}' has no instance maps: give a dataset with instance maps, or"
            " leave --evaluation proposals out"
        )
    rule = None if request.objects is None else get_rule(request.objects)
    if rule and rule.channels:
        raise UserError(
            f"--objects {rule.name} learns from objects that are labelled one by one, and"
            f" '{collection.name}' has no instance maps: give --objects watershed, or a dataset"
            " with instance maps"
        )
