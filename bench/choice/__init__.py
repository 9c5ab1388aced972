"""Choose the best method for a collection of images, within limits; see docs/choose.md.

The policy (`bench.choice.verdict.decide`) is a pure function from records to the next cells or a
verdict, so it can be replayed on stored records (`bench.choice.replay`).
"""
