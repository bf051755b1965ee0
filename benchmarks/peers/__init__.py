"""segzoo beside mmsegmentation 1.2.2: the same pictures, the same weights, the same torch, one run.

``build.sh FOLDER`` makes an environment in which both run, segzoo from this checkout; then, from the checkout's root,
``FOLDER/bin/python -m benchmarks.peers.compare`` compares them. See :mod:`benchmarks.peers.compare`.
"""
