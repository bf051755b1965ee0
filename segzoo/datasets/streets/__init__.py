"""The parts of a drawn street; `segzoo.datasets.drawn_streets` puts them together."""
