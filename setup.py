"""What setup.cfg cannot say: the packages found, and the index folder, which becomes segzoo.model_index."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["segzoo", "segzoo.*"]), "segzoo.model_index"])
