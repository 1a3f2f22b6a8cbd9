"""Painted labels in the viewer: pairs of image and labels, classes, counts, keys, and saved copies."""
