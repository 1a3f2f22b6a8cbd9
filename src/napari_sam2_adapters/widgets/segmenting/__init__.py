"""What the Segment dock is made of: its forms, the prediction in a worker, tidying and measuring."""
