"""Draw procedural images and volumes: textures, outlines, solids."""
