"""Examples and batches: readers, generators, tokenizers, targets, and how they become tensors."""
