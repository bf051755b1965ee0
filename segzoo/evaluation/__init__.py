"""Accuracy over whole data sets."""
