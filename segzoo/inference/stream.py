"""Many files: pictures are decoded ahead and results written behind while the network runs.

A result is written under a temporary name and renamed, so that a file which exists is complete, and a run that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import glob
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from segzoo.errors import OptionError, SegzooError
from segzoo.inference.image import read_image
from segzoo.inference.result import Segmentation

__all__ = ["Job", "Outcome", "collect", "plan", "run"]

_AHEAD = 3  # pictures that are decoded before they are needed, and results that wait to be written


@dataclass(frozen=True)
class Job:
    """A picture and where its result goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job. ``reason`` says why it failed; ``counts`` are the pixels of each class."""

    job: Job
    status: Literal["done", "kept", "failed"]
    reason: str = ""
    counts: dict[str, int] | None = None


def collect(inputs: Sequence[str]) -> list[tuple[Path, Path]]:
    """The files that ``inputs`` (files, folders, shell patterns) name, each with its path below the input.

    Of folders, all files below whose suffix is one that Pillow reads; of patterns (``**`` goes into folders), all
    files that match. Raises :class:`~segzoo.errors.OptionError` for an input that gives none.
    """
    found: dict[Path, Path] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            Image.init()
            below = sorted(p for p in path.rglob("*") if _is_picture(p))
            pairs = [(p, p.relative_to(path)) for p in below]
        elif path.exists() or not glob.has_magic(text):
            pairs = [(path, Path(path.name))]  # one that does not exist is reported with the bad files
        else:
            matches = sorted(p for p in map(Path, glob.glob(text, recursive=True)) if p.is_file())
            root = Path(os.path.commonpath([p.parent for p in matches])) if matches else path
            pairs = [(p, p.relative_to(root)) for p in matches]
        if not pairs:
            raise OptionError(f"{text}: no pictures found")
        for source, relative in pairs:
            found.setdefault(source, relative)
    return list(found.items())


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in Image.EXTENSION and not path.name.startswith(".") and path.is_file()


def plan(found: Iterable[tuple[Path, Path]], folder: Path, suffix: str = ".png") -> list[Job]:
    """Targets in ``folder``, laid out as the sources are; sources that differ in their suffix alone keep it."""
    found = [(source, relative) for source, relative in found if folder not in source.parents]
    stems = Counter(relative.with_suffix("") for _, relative in found)
    jobs = []
    for source, relative in found:
        alone = stems[relative.with_suffix("")] == 1
        name = relative.with_suffix(suffix) if alone else relative.with_name(relative.name + suffix)
        jobs.append(Job(source, folder / name))
    twice = [str(target) for target, count in Counter(job.target for job in jobs).items() if count > 1]
    if twice:
        raise OptionError(f"several pictures would be written to {', '.join(twice)}: predict the inputs one by one")
    return jobs


def run(
    jobs: Iterable[Job],
    segment: Callable[[np.ndarray], Segmentation],
    save: Callable[[Segmentation, Path], None],
    *,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """Do the jobs, yielding an outcome for each.

    A target that exists and is not older than its source is kept, unless ``overwrite``. A picture that cannot be
    read, or that the network refuses, has failed and the others go on; an error on writing ends the run.
    """
    reading: deque[tuple[Job, Future[np.ndarray]]] = deque()
    writing: deque[tuple[Job, Future[dict[str, int]]]] = deque()
    rest = iter(jobs)
    with ThreadPoolExecutor(1, "decode") as decoder, ThreadPoolExecutor(1, "encode") as encoder:
        try:
            while True:
                for job in rest:
                    if not overwrite and _is_current(job):
                        yield Outcome(job, "kept")
                        continue
                    reading.append((job, decoder.submit(read_image, job.source)))
                    if len(reading) >= _AHEAD:
                        break
                if not reading:
                    break
                job, pixels = reading.popleft()
                try:
                    result = segment(pixels.result())
                except OptionError:
                    raise  # would be the same for every picture
                except SegzooError as error:
                    yield Outcome(job, "failed", str(error))
                    continue
                writing.append((job, encoder.submit(_write, result, job.target, save)))
                while writing and (len(writing) > _AHEAD or writing[0][1].done()):
                    yield _written(*writing.popleft())
            while writing:
                yield _written(*writing.popleft())
        finally:
            for _, waiting in reading:
                waiting.cancel()


def _is_current(job: Job) -> bool:
    try:
        return job.target.stat().st_mtime_ns >= job.source.stat().st_mtime_ns
    except OSError:
        return False


def _write(result: Segmentation, target: Path, save: Callable[[Segmentation, Path], None]) -> dict[str, int]:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{os.getpid()}.partial{target.suffix or '.png'}")
    try:
        save(result, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return result.counts()


def _written(job: Job, future: Future[dict[str, int]]) -> Outcome:
    return Outcome(job, "done", counts=future.result())
