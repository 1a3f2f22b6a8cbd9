"""What the Models dock is made of: trained adapters and pretrained backbones."""
