"""Recognise and convert folders that other tools and collections arrange in their own ways.

One file for each layout, listed in `bench.data.layouts.registry`: `recognise` says why a folder
looks like the layout, `convert` gives its images and masks. `bench.data.layouts.write` writes them
in the layout that `bench.data.folder` reads.
"""
