"""The ways to evaluate a trained model, by the name that `--evaluation` takes.

A mode knows what it cannot do, where its prompts come from, and how it predicts. Importing this
module does not import torch, so that requests and records can name modes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from bench.data.items import Collection, Item
from bench.errors import no_such
from bench.spec import PromptSource

if TYPE_CHECKING:
    from bench.evaluate.scoring import Prediction
    from bench.learn.model import Model


@dataclass(frozen=True)
class EvaluationMode:
    """One way to get predictions of images at the size of their masks.

    Attributes:
        name: the word after `--evaluation`, and the value of `Recipe.evaluation`.
        predictor: "module:function" of what predicts, which is imported when it is used.
        takes_stacks: it can give a model several consecutive slices at once (`--depth`).
        separates_objects: its predictions hold objects; in other modes objects are the connected
            components of the class map. Its prompts are automatic, whatever the method trains with.
        native: the model sees images at their own resolution.
        takes_proposer: it needs a second model, which finds the objects (`Recipe.proposer`).
        magnifies: images can be enlarged before the model sees parts of them (`--zoom`).
    """

    name: str
    predictor: str
    takes_stacks: bool = False
    separates_objects: bool = False
    native: bool = False
    takes_proposer: bool = False
    magnifies: bool = False

    def prompt_origin(self, method_prompts: PromptSource) -> PromptSource:
        """Where prompts come from at evaluation: as in the method, unless the mode has its own.

        Args:
            method_prompts: the prompt origin of the method.
        """
        return "automatic" if self.separates_objects else method_prompts

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
        predict = resolve_name(self.predictor)
        models = (proposer,) if self.takes_proposer else ()
        predictions: Iterator[Prediction] = predict(model, items, collection, *models)
        return predictions


_PLACE = "bench.evaluate"
MODES = {
    mode.name: mode
    for mode in (
        EvaluationMode("whole", f"{_PLACE}.whole:predict_whole", takes_stacks=True),
        EvaluationMode("tiles", f"{_PLACE}.tiles:predict_tiled", native=True, magnifies=True),
        EvaluationMode(
            "generator", f"{_PLACE}.mask_generator:predict_objects", separates_objects=True
        ),
        EvaluationMode(
            "proposals",
            f"{_PLACE}.proposals:predict_proposals",
            separates_objects=True,
            takes_proposer=True,
        ),
    )
}


def get_mode(name: str) -> EvaluationMode:
    """The mode of that name.

    Raises:
        UserError: no mode has this name.
    """
    if name not in MODES:
        raise no_such("evaluation", name, MODES)
    return MODES[name]
