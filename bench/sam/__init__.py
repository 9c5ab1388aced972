"""The foundation model: architectures, weights, prompts, heads and changes to modules."""

from segment_anything.modeling import Sam as Sam

from bench.sam.build import load_sam as load_sam
from bench.sam.lora import LoRALinear as LoRALinear
from bench.sam.lora import add_lora as add_lora
from bench.sam.prompts import PromptRule as PromptRule
from bench.sam.prompts import Prompts as Prompts
from bench.sam.segmenter import ConvHead as ConvHead
from bench.sam.segmenter import PromptedDecoder as PromptedDecoder
from bench.sam.segmenter import SamSegmenter as SamSegmenter
from bench.sam.segmenter import SemanticDecoder as SemanticDecoder
from bench.sam.stages import Stage as Stage
from bench.sam.surgery import freeze as freeze
from bench.sam.surgery import freeze_other_blocks as freeze_other_blocks
from bench.sam.surgery import merge as merge
from bench.sam.surgery import replace_modules as replace_modules
from bench.sam.surgery import require as require
from bench.sam.surgery import require_attention as require_attention
from bench.sam.surgery import require_vit as require_vit
from bench.sam.surgery import select_blocks as select_blocks
