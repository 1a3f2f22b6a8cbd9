"""Networks: backbones, adapters, prompt-free decoder and the file that keeps what was trained."""
