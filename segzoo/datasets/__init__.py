"""Data sets: folder layouts, label maps, and the streets that a program draws."""
