"""Drawing textures for procedural images."""
