"""What the Fine-tune dock is made of: its forms, the training in a worker, and how it goes."""
