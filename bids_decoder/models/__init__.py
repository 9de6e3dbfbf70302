"""Networks and their store; no knowledge of files other than safetensors."""
