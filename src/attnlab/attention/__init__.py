"""Attention mechanisms: five orthogonal parts, the kernels that serve them, and their maps."""
