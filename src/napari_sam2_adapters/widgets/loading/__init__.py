"""What the Load dock is made of: files and folders to layers."""
