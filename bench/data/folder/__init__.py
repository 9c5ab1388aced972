"""Read any folder of images and masks as a collection."""
