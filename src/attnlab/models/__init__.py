"""Encoders, decoders and heads, each built around whatever mechanism the config names."""
