"""What a bioimage.io package says beside what the model file says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from napari_sam2_adapters.config import Settings

__all__ = ["PackageInfo"]


class PackageInfo(Settings):
    """Who made the model, what it is called, and the pictures to show it on."""

    authors: Annotated[
        tuple[str, ...], Field(title="Authors", description="Names of those who made the model.")
    ]
    name: Annotated[
        str | None,
        Field(title="Name", description="What it is called; empty: as the model file."),
    ] = None
    description: Annotated[
        str | None,
        Field(max_length=1024, title="Description", description="A sentence on what it is for."),
    ] = None
    # SAM2's and MobileSAM's weights, most of what is in the package, are under it.
    licence: Annotated[str, Field(title="Licence", description="SPDX identifier.")] = "Apache-2.0"
    tags: Annotated[
        tuple[str, ...], Field(title="Tags", description="Words to find the model by.")
    ] = ()
    cite: Annotated[
        tuple[str, ...], Field(title="Cite", description="DOIs of papers, such as 10.1000/182.")
    ] = ()
    documentation: Annotated[
        Path | None,
        Field(title="Documentation", description="Markdown file; empty: one is written."),
    ] = None
    cover: Annotated[
        Path | None, Field(title="Cover", description="PNG or JPEG; empty: one is drawn.")
    ] = None
    image: Annotated[
        Path | None,
        Field(
            title="Image", description="Image for test and cover; empty: a bundled sample image."
        ),
    ] = None
