"""Adapters for other programs: the whole network as an ONNX file, and that in a bioimage.io package."""
