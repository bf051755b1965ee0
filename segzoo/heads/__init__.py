"""Decode heads: features in, class logits out; one file per method, with its paper in the header."""
