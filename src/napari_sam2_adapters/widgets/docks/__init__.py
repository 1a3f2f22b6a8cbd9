"""What all docks share: column and buttons, forms from settings, work in threads, layers, log and preferences."""
