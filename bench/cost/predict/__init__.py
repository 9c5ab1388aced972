"""Memory and time of training and inference, predicted from shapes; see docs/protocol/costs.md.

`bench.predict` is something else: it predicts images with a kept model.

Nothing here reads weights or images, and nothing needs the device that the prediction is for.
"""
