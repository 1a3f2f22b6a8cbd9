"""``python -m napari_sam2_adapters`` is the command ``sam2-adapters``, for where scripts are not on the path."""

from napari_sam2_adapters.cli import main

main()
