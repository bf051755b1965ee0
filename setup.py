"""The one thing setup.cfg cannot say: found packages and the index folder, which becomes segzoo.model_index."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["segzoo", "segzoo.*"]), "segzoo.model_index"])
