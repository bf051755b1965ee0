"""Backbones: a picture in, a list of features out; one file per family, with its paper in the header."""
