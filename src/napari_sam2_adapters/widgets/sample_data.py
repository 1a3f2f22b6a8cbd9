"""Sample images with strokes, from File ▸ Open Sample."""
