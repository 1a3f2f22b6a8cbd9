"""Segmenting folders of images: one engine for the dock, the command line and Python."""
