"""From files to batches: decoding, splits, augmentation."""
