"""What a method costs: parameters, operations, memory and speed; defined in docs/protocol/costs.md.

The functions take plain modules and callables; they do not use methods, datasets or records.
Functions `count_...` are exact and repeatable, functions `measure_...` depend on the machine.
"""
