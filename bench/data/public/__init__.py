"""Public image collections: addresses, downloads, published layouts."""
