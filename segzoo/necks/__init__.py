"""Necks: features in, features out; between the backbone and the heads."""
