"""Fine-tuning an adapter."""
