"""Segmenting images of any size."""
