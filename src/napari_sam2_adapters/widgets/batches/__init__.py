"""What the Batch folder dock is made of."""
