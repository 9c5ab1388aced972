"""Which way of adapting the Segment Anything Model, and what does it cost?

The public names, for scripts and for plugin authors, are listed in `_HOME` and loaded on first use,
so that `import bench` stays quick and free of torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bench.plugins.checkout import adopt_plugin_folders

if TYPE_CHECKING:
    from bench.api.choose import choose as choose
    from bench.api.compare import compare as compare
    from bench.api.compare_results import compare_results as compare_results
    from bench.api.predict_cost import predict_cost as predict_cost
    from bench.api.results import Results as Results
    from bench.api.results import load_results as load_results
    from bench.ask.request import Request as Request
    from bench.data.items import IGNORE as IGNORE
    from bench.data.items import Item as Item
    from bench.errors import UnsupportedError as UnsupportedError
    from bench.errors import UserError as UserError
    from bench.nets.blocks import UNetEncoder as UNetEncoder
    from bench.nets.blocks import UNetForm as UNetForm
    from bench.nets.library import Normalised as Normalised
    from bench.nets.library import build_off_meta as build_off_meta
    from bench.nets.library import require_library as require_library
    from bench.nets.library import with_encoder as with_encoder
    from bench.plugins.folders import add_plugin_folder as add_plugin_folder
    from bench.plugins.registry import register_dataset as register_dataset
    from bench.plugins.registry import register_method as register_method
    from bench.predict.model import load_model as load_model
    from bench.run.schedule import RunSettings as RunSettings
    from bench.sam import ConvHead as ConvHead
    from bench.sam import LoRALinear as LoRALinear
    from bench.sam import PromptedDecoder as PromptedDecoder
    from bench.sam import PromptRule as PromptRule
    from bench.sam import Prompts as Prompts
    from bench.sam import Sam as Sam
    from bench.sam import SamSegmenter as SamSegmenter
    from bench.sam import SemanticDecoder as SemanticDecoder
    from bench.sam import Stage as Stage
    from bench.sam import add_lora as add_lora
    from bench.sam import freeze as freeze
    from bench.sam import freeze_other_blocks as freeze_other_blocks
    from bench.sam import load_sam as load_sam
    from bench.sam import replace_modules as replace_modules
    from bench.sam import require as require
    from bench.sam import require_attention as require_attention
    from bench.sam import require_vit as require_vit
    from bench.sam import select_blocks as select_blocks
    from bench.spec import Recipe as Recipe
    from bench.spec import Task as Task

_HOME = {
    "choose": "bench.api.choose",
    "compare": "bench.api.compare",
    "compare_results": "bench.api.compare_results",
    "predict_cost": "bench.api.predict_cost",
    "Results": "bench.api.results",
    "load_results": "bench.api.results",
    "Request": "bench.ask.request",
    "IGNORE": "bench.data.items",
    "Item": "bench.data.items",
    "UnsupportedError": "bench.errors",
    "UserError": "bench.errors",
    "Normalised": "bench.nets.library",
    "UNetEncoder": "bench.nets.blocks",
    "UNetForm": "bench.nets.blocks",
    "build_off_meta": "bench.nets.library",
    "require_library": "bench.nets.library",
    "with_encoder": "bench.nets.library",
    "add_plugin_folder": "bench.plugins.folders",
    "register_dataset": "bench.plugins.registry",
    "register_method": "bench.plugins.registry",
    "load_model": "bench.predict.model",
    "RunSettings": "bench.run.schedule",
    "ConvHead": "bench.sam",
    "LoRALinear": "bench.sam",
    "PromptedDecoder": "bench.sam",
    "PromptRule": "bench.sam",
    "Prompts": "bench.sam",
    "Sam": "bench.sam",
    "SamSegmenter": "bench.sam",
    "SemanticDecoder": "bench.sam",
    "Stage": "bench.sam",
    "add_lora": "bench.sam",
    "freeze": "bench.sam",
    "freeze_other_blocks": "bench.sam",
    "load_sam": "bench.sam",
    "replace_modules": "bench.sam",
    "require": "bench.sam",
    "require_attention": "bench.sam",
    "require_vit": "bench.sam",
    "select_blocks": "bench.sam",
    "Recipe": "bench.spec",
    "Task": "bench.spec",
}

__all__ = list(_HOME)

adopt_plugin_folders()


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All names of the module, with the public ones that are not loaded yet."""
    return sorted({*globals(), *_HOME})
