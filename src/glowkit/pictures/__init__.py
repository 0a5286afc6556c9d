"""Floor 4: pictures of tensors."""
