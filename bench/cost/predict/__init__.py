"""What training and inference will cost, predicted from shapes alone; see docs/cost.md.

Nothing here reads weights or images, and nothing needs the device that the prediction is for.
"""
