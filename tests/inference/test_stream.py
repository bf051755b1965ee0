"""Folders of pictures: what is found, where it goes, what is kept, what fails."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segzoo.errors import InputSizeError, OptionError
from segzoo.inference import Segmentation
from segzoo.inference.stream import Job, collect, plan, run
from tests.inference.plain import picture


def write(path: Path, seed: int = 0, size: tuple[int, int] = (12, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(*size, seed=seed)).save(path)
    return path


def segment(pixels: np.ndarray) -> Segmentation:
    if pixels.shape[0] > 100:
        raise InputSizeError("too tall")
    return Segmentation(
        (pixels[..., 0] > 128).astype(np.uint8), ("dark", "light"), ((0, 0, 0), (9, 9, 9)), None, pixels
    )


def save(result: Segmentation, path: Path) -> None:
    result.save(path)


def test_what_inputs_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/b.png", "in/a.jpg", "in/deep/c.PNG", "in/.hidden.png", "other/d.png"):
        write(Path(name))
    Path("in/notes.txt").write_text("words")
    folder = [Path("in/a.jpg"), Path("in/b.png"), Path("in/deep/c.PNG")]
    assert collect(["in"]) == [(p, p.relative_to("in")) for p in folder]
    assert collect(["in", "in/a.jpg"]) == collect(["in"])
    assert [str(p) for p, _ in collect(["in/*.png", "other/d.png"])] == ["in/b.png", "other/d.png"]
    assert [str(r) for _, r in collect(["**/*.png"])] == ["in/b.png", "other/d.png"]
    assert collect(["absent.png"]) == [(Path("absent.png"), Path("absent.png"))]
    Path("empty").mkdir()
    for nothing in ("empty", "*.bmp"):
        with pytest.raises(OptionError, match="no pictures found"):
            collect([nothing])


def test_targets_are_laid_out_as_the_sources(tmp_path: Path) -> None:
    found = [
        (Path("in/a.jpg"), Path("a.jpg")),
        (Path("in/deep/a.jpg"), Path("deep/a.jpg")),
        (Path("in/b.x.tif"), Path("b.x.tif")),
    ]
    assert [job.target for job in plan(found, Path("out"))] == [
        Path("out/a.png"),
        Path("out/deep/a.png"),
        Path("out/b.x.png"),
    ]
    same = [(Path("in/a.jpg"), Path("a.jpg")), (Path("in/a.bmp"), Path("a.bmp"))]
    assert [job.target for job in plan(same, Path("out"))] == [Path("out/a.jpg.png"), Path("out/a.bmp.png")]
    inside = [(Path("in/a.jpg"), Path("a.jpg")), (Path("in/out/a.png"), Path("out/a.png"))]
    assert [job.source for job in plan(inside, Path("in/out"))] == [Path("in/a.jpg")]
    with pytest.raises(OptionError, match="one by one"):
        plan([(Path("x/a.jpg"), Path("a.jpg")), (Path("y/a.jpg"), Path("a.jpg"))], Path("out"))


def test_good_and_bad_pictures(tmp_path: Path) -> None:
    sources = [write(tmp_path / f"{i}.png", i, (12 + i, 20 - i)) for i in range(8)]
    sources[2].write_bytes(b"words")
    write(sources[5], size=(200, 4))
    sources.append(tmp_path / "absent.png")
    jobs = [Job(source, tmp_path / "out" / source.name) for source in sources]
    outcomes = {outcome.job.source.name: outcome for outcome in run(jobs, segment, save)}
    assert len(outcomes) == 9
    failed = {name: o.reason for name, o in outcomes.items() if o.status == "failed"}
    assert set(failed) == {"2.png", "5.png", "absent.png"}
    assert "not a picture" in failed["2.png"]
    assert "too tall" in failed["5.png"]
    assert "no such file" in failed["absent.png"]
    for job in jobs:
        if outcomes[job.source.name].status == "done":
            expected = segment(np.asarray(Image.open(job.source)))
            assert np.array_equal(np.asarray(Image.open(job.target)), expected.mask)
            assert outcomes[job.source.name].counts == expected.counts()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "0.png",
        "1.png",
        "3.png",
        "4.png",
        "6.png",
        "7.png",
    ]


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    jobs = [Job(write(tmp_path / f"{i}.png", i), tmp_path / "out" / f"{i}.png") for i in range(6)]
    seen = 0

    def stopping(pixels: np.ndarray) -> Segmentation:
        nonlocal seen
        seen += 1
        if seen == 4:
            raise KeyboardInterrupt
        return segment(pixels)

    with pytest.raises(KeyboardInterrupt):
        list(run(jobs, stopping, save))
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert [o.status for o in sorted(run(jobs, segment, save), key=lambda o: o.job.source.name)] == ["kept"] * 3 + [
        "done"
    ] * 3
    assert {o.status for o in run(jobs, segment, save)} == {"kept"}
    assert {o.status for o in run(jobs, segment, save, overwrite=True)} == {"done"}
    later = jobs[1].target.stat().st_mtime + 10
    os.utime(jobs[1].source, (later, later))
    assert sorted(o.status for o in run(jobs, segment, save)) == ["done"] + ["kept"] * 5


def test_reading_and_writing_go_on_beside_the_network(tmp_path: Path) -> None:
    jobs = [Job(write(tmp_path / f"{i}.png", i), tmp_path / "out" / f"{i}.png") for i in range(3)]
    inside = threading.Event()

    def waiting(pixels: np.ndarray) -> Segmentation:
        # the third picture is only segmented once the first has been written meanwhile
        if np.array_equal(pixels, picture(12, 16, 2)):
            assert inside.wait(10)
        return segment(pixels)

    def telling(result: Segmentation, path: Path) -> None:
        assert threading.current_thread() is not threading.main_thread()
        save(result, path)
        inside.set()

    assert [o.status for o in run(jobs, waiting, telling)] == ["done"] * 3


def test_a_failed_write_leaves_nothing_and_stops(tmp_path: Path) -> None:
    jobs = [Job(write(tmp_path / f"{i}.png", i), tmp_path / "out" / f"{i}.png") for i in range(3)]

    def full(result: Segmentation, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    with pytest.raises(OSError, match="No space"):
        list(run(jobs, segment, full))
    assert list((tmp_path / "out").iterdir()) == []


def test_wrong_options_stop_at_once(tmp_path: Path) -> None:
    jobs = [Job(write(tmp_path / f"{i}.png", i), tmp_path / "out" / f"{i}.png") for i in range(3)]

    def refuse(pixels: np.ndarray) -> Segmentation:
        raise OptionError("stride is larger than the crop")

    with pytest.raises(OptionError):
        list(run(jobs, refuse, save))
