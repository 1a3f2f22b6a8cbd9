"""File formats of images and labels: one module each, loaded when a file of its kind is met."""
