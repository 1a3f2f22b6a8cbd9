"""Prompt-free, multi-class segmentation of biomedical images with small adapters on a frozen SAM2."""
