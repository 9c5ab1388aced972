"""Reading a folder of images and masks."""
