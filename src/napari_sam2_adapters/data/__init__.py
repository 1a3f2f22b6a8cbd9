"""Images and labels: reading, axes, normalisation, crops and augmentation."""
