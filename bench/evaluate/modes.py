"""The ways to evaluate a trained model, by the name that `--evaluation` takes.

A mode knows what it cannot do, where its prompts come from, and how it predicts. Importing this
module does not import torch, so that requests and records can name modes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.data.items import Collection, Item
from bench.errors import no_such
from bench.spec import PromptSource

if TYPE_CHECKING:
    from bench.evaluate.scoring import Prediction
    from bench.learn.model import Model


class EvaluationMode(ABC):
    """One way to get predictions of images at the size of their masks.

    Attributes:
        name: the word after `--evaluation`, and the value of `Recipe.evaluation`.
        takes_stacks: it can give a model several consecutive slices at once (`--depth`).
        separates_objects: its predictions hold objects; in other modes objects are the connected
            components of the class map.
        native: the model sees images at their own resolution.
        takes_proposer: it needs a second model, which finds the objects (`Recipe.proposer`).
        magnifies: images can be enlarged before the model sees parts of them (`--zoom`).
    """

    name: str
    takes_stacks = False
    separates_objects = False
    native = False
    takes_proposer = False
    magnifies = False

    def prompt_origin(self, method_prompts: PromptSource) -> PromptSource:
        """Where prompts come from at evaluation: as in the method, unless the mode has its own.

        Args:
            method_prompts: the prompt origin of the method.
        """
        return method_prompts

    @abstractmethod
    def predict(
        self,
        model: "Model",
        items: Sequence[Item],
        collection: Collection,
        proposer: "Model | None" = None,
    ) -> "Iterator[Prediction]":
        """Predict every item once, in order.

        What the mode cannot do is refused at once. Predictions are made when they are taken from
        the iterator, with the model as it is then, so that it may be trained in between. They put
        its module into evaluation mode. Taking one raises DivergedError if a logit is not finite,
        and UserError if a file cannot be read or, with `--depth`, a volume has too few slices.

        Args:
            model: what predicts.
            items: usually the test part.
            collection: the collection of the items.
            proposer: the model that finds the objects, for a mode that takes one.

        Raises:
            UnsupportedError: the mode does not fit the model or the collection.
            UserError: weights that the mode needs are missing.
        """


class WholeImages(EvaluationMode):
    """Images resized to the side of the model, logits resized back: `bench.evaluate.whole`."""

    name = "whole"
    takes_stacks = True

    def predict(
        self,
        model: "Model",
        items: Sequence[Item],
        collection: Collection,
        proposer: "Model | None" = None,
    ) -> "Iterator[Prediction]":
        """As of `EvaluationMode`."""
        from bench.evaluate.whole import predict_whole

        return predict_whole(model, items, collection)


class Tiles(EvaluationMode):
    """Overlapping windows at the resolution of the image: `bench.evaluate.tiles`."""

    name = "tiles"
    native = True
    magnifies = True

    def predict(
        self,
        model: "Model",
        items: Sequence[Item],
        collection: Collection,
        proposer: "Model | None" = None,
    ) -> "Iterator[Prediction]":
        """As of `EvaluationMode`; refuses models that take prompts or stacks of slices."""
        from bench.evaluate.tiles import predict_tiled

        return predict_tiled(model, items, collection)


class MaskGenerator(EvaluationMode):
    """Objects of SAM's automatic mask generator: `bench.evaluate.mask_generator`."""

    name = "generator"
    separates_objects = True

    def prompt_origin(self, method_prompts: PromptSource) -> PromptSource:
        """Automatic: the generator clicks on a grid, whatever the method."""
        return "automatic"

    def predict(
        self,
        model: "Model",
        items: Sequence[Item],
        collection: Collection,
        proposer: "Model | None" = None,
    ) -> "Iterator[Prediction]":
        """As of `EvaluationMode`; needs SAM's encoder, and labelled objects of one class.

        It refuses models that train a class head alone.
        """
        from bench.evaluate.mask_generator import predict_objects

        return predict_objects(model, items, collection)


class Proposals(EvaluationMode):
    """Objects that another model finds, as prompts: `bench.evaluate.proposals`."""

    name = "proposals"
    separates_objects = True
    takes_proposer = True

    def prompt_origin(self, method_prompts: PromptSource) -> PromptSource:
        """Automatic: the prompts are those of the proposer, whatever the method trains with."""
        return "automatic"

    def predict(
        self,
        model: "Model",
        items: Sequence[Item],
        collection: Collection,
        proposer: "Model | None" = None,
    ) -> "Iterator[Prediction]":
        """As of `EvaluationMode`; refuses models that do not take prompts of single objects."""
        from bench.evaluate.proposals import predict_proposals

        return predict_proposals(model, items, collection, proposer)


MODES: dict[str, EvaluationMode] = {
    mode.name: mode for mode in (WholeImages(), Tiles(), MaskGenerator(), Proposals())
}


def get_mode(name: str) -> EvaluationMode:
    """The mode of that name.

    Raises:
        UserError: no mode has this name.
    """
    if name not in MODES:
        raise no_such("evaluation", name, MODES)
    return MODES[name]
