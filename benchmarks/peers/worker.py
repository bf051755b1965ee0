"""One side of the comparison as a process: ``python -m benchmarks.peers.worker SIDE ENTRY FILES THREADS FIT``.

FILES is a folder with ``picture.npy`` and ``weights.safetensors``. The process reads a word a line and answers with a
line of JSON: ``memory`` (asked first: of the first call), ``time``, ``labels``, ``work``, ``gap``. It ends with its
input. FIT is ``entry`` or ``none``: whether pictures are resized as the entry's protocol says.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers import memory

__all__: list[str] = []


class _Side:
    def __init__(self, side: str, entry: str, files: Path, fitted: bool) -> None:
        self.picture = np.load(files / "picture.npy")
        self.files, self.side = files, side
        weights = files / "weights.safetensors"
        self.run: Any
        if side == "ours":
            from benchmarks.peers.ours import Ours

            self.run = Ours(entry, weights, fitted)
        else:
            from benchmarks.peers.theirs import Theirs

            self.run = Theirs(entry, weights, fitted)

    def memory(self) -> dict[str, Any]:
        """Bytes resident with the model loaded, and the peak of the first call; the peer's, without softmax first."""
        loaded = memory.restart()
        found: dict[str, Any] = {"loaded": loaded}
        if self.side == "ours":
            self.run(self.picture)
            found |= {"peak": memory.peak(), "preparing": self.run.preparing, "done": self.run.done}
        else:
            self.run(self.picture, softmax=False)
            found["peak_without_softmax"] = memory.peak()
            memory.restart()
            self.run(self.picture)
            found["peak"] = memory.peak()
        return found

    def time(self) -> dict[str, Any]:
        started = time.process_time()
        found = self.run(self.picture)
        processor = time.process_time() - started
        return {"seconds": found[1], "softmax": found[2] if len(found) > 2 else 0.0, "processor": processor}

    def labels(self) -> dict[str, Any]:
        np.save(self.files / f"{self.side}.npy", self.run(self.picture)[0])
        return {}

    def gap(self) -> dict[str, Any]:
        return {"gap": self.run.gap(self.picture, np.load(self.files / "ours.npy"))}

    def work(self) -> dict[str, Any]:
        work = self.run.work(self.picture)
        return {"operations": work.operations, "bytes": work.bytes}


def main(arguments: list[str]) -> None:
    side, entry, files, threads, fit = arguments
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the peer prints; what is printed must not pass for an answer
    torch.set_num_threads(int(threads))
    ready = _Side(side, entry, Path(files), fit == "entry")
    print(json.dumps({"torch": torch.__version__}), file=answers)
    for line in sys.stdin:
        print(json.dumps(getattr(ready, line.strip())()), file=answers)


if __name__ == "__main__":
    main(sys.argv[1:])
