"""The built-in backbones, one file per family; see `bench.sam.backbone`."""
