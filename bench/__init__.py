"""Compare ways of adapting the Segment Anything Model: accuracy and cost under one protocol."""
