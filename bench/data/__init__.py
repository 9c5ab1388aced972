"""Image collections: decoding of files, splits, augmentation."""
