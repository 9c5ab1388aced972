"""What a method costs: parameters, operations, memory and speed; defined in docs/protocol/costs.md.

The functions take plain modules and callables; they do not use methods, datasets or records.
Functions `count_...` are exact and repeatable, functions `measure_...` depend on the machine.
"""

from bench.cost.flops import (
    count_flops_of_parts,
    count_forward_flops,
    count_macs_fvcore,
    count_train_step_flops,
    on_meta,
)
from bench.cost.memory import MemorySplit, StorageMeter, measure_memory
from bench.cost.params import (
    checkpoint_bytes,
    count_params,
    count_params_of_parts,
    trained_state,
)
from bench.cost.throughput import Throughput, measure_throughput

__all__ = [
    "MemorySplit",
    "StorageMeter",
    "Throughput",
    "checkpoint_bytes",
    "count_flops_of_parts",
    "count_forward_flops",
    "count_macs_fvcore",
    "count_params",
    "count_params_of_parts",
    "count_train_step_flops",
    "measure_memory",
    "measure_throughput",
    "on_meta",
    "trained_state",
]
