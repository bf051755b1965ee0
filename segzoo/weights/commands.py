"""The hub's commands: download, cache, convert, mirror, index."""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segzoo.errors import OptionError, SegzooError, UnknownNameError
from segzoo.index import Entry, find, list_models
from segzoo.weights.housekeeping import matching, prune, verify
from segzoo.weights.store import Store
from segzoo.weights.units import human_size

__all__ = ["add_commands"]


def add_commands(subparsers: Any) -> None:
    """Add the hub's commands to the parser of ``segzoo``; each sets ``run``, which returns the exit code."""
    _add_download(subparsers)
    _add_cache(subparsers)
    _add_convert(subparsers)
    _add_mirror(subparsers)
    _add_index(subparsers)


def _parser(subparsers: Any, name: str, help: str, description: str, *examples: str) -> argparse.ArgumentParser:
    head = "examples:" if len(examples) > 1 else "example:"
    made: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=help,
        description=description,
        epilog="\n".join([head, *(f"  {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return made


def _entries(patterns: Sequence[str]) -> list[Entry]:
    """The entries that names and patterns mean, in order, each once.

    Raises:
        UnknownNameError: one of them means none.
    """
    chosen: dict[str, Entry] = {}
    for pattern in patterns:
        if any(mark in pattern for mark in "*?["):
            names = list_models(pattern)
            if not names:
                raise UnknownNameError(f"no model fits {pattern!r}; `segzoo list` shows them all")
            chosen.update((name, find(name)) for name in names)
        else:
            entry = find(pattern)
            chosen[entry.name] = entry
    return list(chosen.values())


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _note(text: str) -> None:
    print(text, file=sys.stderr)


# download


def _add_download(subparsers: Any) -> None:
    parser = _parser(
        subparsers,
        "download",
        "fetch weights into the cache",
        "Fetch the weights of models into the cache, several at a time, each checked while it comes in.\n"
        "Prints one line per file: its model and its path. A file that is cached already is not fetched again.",
        "segzoo download fastfcn_r50_jpu_psp_cityscapes",
        "segzoo download 'pspnet_*_cityscapes' --jobs 2",
        "SEGZOO_MIRROR=https://mirror.example.org/weights segzoo download 'fcn_*'",
    )
    parser.add_argument("pattern", nargs="+", help="a model's name, or a shell pattern in quotes")
    parser.add_argument("--jobs", type=_positive, default=4, metavar="N", help="downloads at a time (default: 4)")
    parser.add_argument("--json", action="store_true", help="a JSON array: name, path, bytes, error")
    parser.set_defaults(run=_run_download)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _run_download(args: argparse.Namespace) -> int:
    from segzoo.weights.fetching import fetch

    entries = _entries(args.pattern)
    results: dict[str, dict[str, Any]] = {}

    def work(entry: Entry) -> dict[str, Any]:
        try:
            path = fetch(entry.weights, name=entry.name)
            return {"name": entry.name, "path": str(path), "bytes": path.stat().st_size, "error": None}
        except (SegzooError, OSError) as error:
            return {"name": entry.name, "path": None, "bytes": None, "error": str(error)}

    for result in _in_threads(work, entries, args.jobs):
        results[result["name"]] = result
        if not args.json and result["error"] is None:
            print(f"{result['name']}  {result['path']}  {human_size(result['bytes'])}", flush=True)
    failures = [result for result in results.values() if result["error"] is not None]
    if args.json:
        _print_json([results[entry.name] for entry in entries])
    for failure in failures:
        _note(f"segzoo: {failure['error']}")
    if len(entries) > 1:
        total = human_size(sum(result["bytes"] or 0 for result in results.values()))
        _note(f"{len(entries) - len(failures)} of {len(entries)} files are in the cache, {total}")
    return 1 if failures else 0


def _in_threads(work: Callable[[Entry], Any], entries: Sequence[Entry], jobs: int) -> Any:
    """Results as they come; the threads are daemons, so that an interrupt ends the program at once."""
    todo: queue.SimpleQueue[Entry] = queue.SimpleQueue()
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for entry in entries:
        todo.put(entry)

    def run() -> None:
        while True:
            try:
                entry = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((work(entry), None))
            except BaseException as error:
                done.put((None, error))

    for _ in range(min(jobs, len(entries))):
        threading.Thread(target=run, daemon=True).start()
    for _ in entries:
        result, error = done.get()
        if error is not None:
            raise error
        yield result


# cache


def _add_cache(subparsers: Any) -> None:
    cache = _parser(
        subparsers,
        "cache",
        "show, check or clear the cached weights",
        "Show, check or clear the cached weights. The cache is SEGZOO_CACHE, else segzoo/ in PyTorch's own cache.",
        "segzoo cache list",
        "segzoo cache verify",
        "segzoo cache prune --originals",
    )
    actions = cache.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _parser(actions, "list", "list the cached files", "List the cached files.", "segzoo cache list 'pspnet*'")
    listing.add_argument("pattern", nargs="*", help="of a model's or file's name; without it, everything")
    listing.add_argument("--json", action="store_true", help="a JSON array")
    listing.set_defaults(run=_run_cache_list)
    checking = _parser(
        actions,
        "verify",
        "hash every cached file again",
        "Hash every cached file again. A damaged file is set aside and fetched anew when next wanted; exit code 1.",
        "segzoo cache verify",
    )
    checking.add_argument("pattern", nargs="*", help="of a model's or file's name; without it, everything")
    checking.add_argument("--json", action="store_true", help="a JSON array")
    checking.set_defaults(run=_run_cache_verify)
    pruning = _parser(
        actions,
        "prune",
        "clear away leftovers, and files as asked",
        "Clear away what interrupted downloads left behind; with a pattern or an option, weights too.",
        "segzoo cache prune",
        "segzoo cache prune 'pspnet*' --dry-run",
        "segzoo cache prune --originals",
        "segzoo cache prune --older-than 90",
    )
    pruning.add_argument("pattern", nargs="*", help="files of these models too")
    pruning.add_argument("--all", action="store_true", help="every file")
    pruning.add_argument("--originals", action="store_true", help="only .pth files that are kept as safetensors too")
    pruning.add_argument("--older-than", type=float, metavar="DAYS", help="only files older than so many days")
    pruning.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    pruning.add_argument("--json", action="store_true", help="a JSON array")
    pruning.set_defaults(run=_run_cache_prune)


def _run_cache_list(args: argparse.Namespace) -> int:
    store = Store()
    files = matching(store, args.pattern)
    if args.json:
        _print_json(
            [
                {
                    "path": str(stored.path),
                    "bytes": stored.size,
                    "sha256": stored.record.sha256 if stored.record else None,
                    "name": stored.record.name if stored.record else None,
                    "address": stored.record.address if stored.record else None,
                    "fetched": stored.record.fetched if stored.record else None,
                    "made_from": stored.key if stored.is_copy else None,
                }
                for stored in files
            ]
        )
        return 0
    for stored in files:
        name = (stored.record.name if stored.record else "") or stored.path.name
        day = stored.record.fetched[:10] if stored.record else ""
        kind = stored.path.suffix.lstrip(".")
        print(f"{human_size(stored.size):>9}  {day:10}  {kind:11}  {name}")
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    _note(f"{count}, {human_size(sum(stored.size for stored in files))}, in {store.directory}")
    return 0


def _run_cache_verify(args: argparse.Namespace) -> int:
    store = Store()
    results = verify(store, matching(store, args.pattern))
    if args.json:
        _print_json([{"path": str(stored.path), "ok": ok} for stored, ok in results])
    else:
        for stored, ok in results:
            print(f"{'ok' if ok else 'DAMAGED':8}{stored.path.name}")
        damaged = sum(not ok for _, ok in results)
        _note(f"{len(results)} files hashed, {damaged} damaged" + (" and set aside" if damaged else ""))
    return 0 if all(ok for _, ok in results) else 1


def _run_cache_prune(args: argparse.Namespace) -> int:
    store = Store()
    asked = bool(args.pattern or args.all or args.originals or args.older_than is not None)
    removals = prune(
        store,
        matching(store, args.pattern) if asked else (),
        originals=args.originals,
        older_than_days=args.older_than,
        dry_run=args.dry_run,
    )
    if args.json:
        _print_json([{"path": str(r.path), "bytes": r.size, "reason": r.reason} for r in removals])
        return 0
    for removal in removals:
        print(f"{human_size(removal.size):>9}  {removal.path.name}  ({removal.reason})")
    verb = "would be removed" if args.dry_run else "removed"
    _note(f"{len(removals)} files {verb}, {human_size(sum(r.size for r in removals))}")
    return 0


# convert


def _add_convert(subparsers: Any) -> None:
    parser = _parser(
        subparsers,
        "convert",
        "write a .pth file as safetensors",
        "Write a .pth file as safetensors; its header holds the entry, its classes, the source's address and sha256.\n"
        "The .pth is read without running anything that it may ask for.",
        "segzoo convert latest.pth",
        "segzoo convert latest.pth --out street.safetensors --entry fastfcn_r50_jpu_psp_cityscapes",
    )
    parser.add_argument("file", type=Path, help="what torch.save wrote")
    parser.add_argument("--out", type=Path, help="the file to write (default: beside the .pth)")
    parser.add_argument(
        "--entry", help="the model that the weights are for (default: by the file's name, if it is known)"
    )
    parser.set_defaults(run=_run_convert)


def _run_convert(args: argparse.Namespace) -> int:
    from segzoo.weights.conversion import convert

    entry, address = None, ""
    if args.entry:
        entry = find(args.entry)
    else:
        try:
            published = find(args.file.name)
            if published.weights.filename == args.file.name:
                entry, address = published, published.weights.addresses[0]
        except SegzooError:
            entry = None
    path, sha256 = convert(args.file, args.out, entry=entry, address=address)
    print(f"{path}  {human_size(path.stat().st_size)}\nsha256 {sha256}")
    return 0


# mirror, index


def _add_mirror(subparsers: Any) -> None:
    parser = _parser(
        subparsers,
        "mirror",
        "copy published weights into a directory that can be served",
        "Copy published weights into a directory: files by their published paths, safetensors beside them, and\n"
        "manifest.json with full sha256 and size. Run again, it goes on where it stopped.",
        "segzoo mirror 'fastfcn_*' /srv/weights",
        "SEGZOO_MIRROR=/srv/weights segzoo download 'fastfcn_*'",
    )
    parser.add_argument("pattern", nargs="+", help="a model's name, or a shell pattern in quotes")
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to")
    parser.set_defaults(run=_run_mirror)


def _run_mirror(args: argparse.Namespace) -> int:
    from segzoo.weights.mirror import mirror

    entries = _entries(args.pattern)
    failed = total = 0
    for result in mirror(entries, args.directory):
        if isinstance(result, SegzooError):
            failed += 1
            _note(f"segzoo: {result}")
        else:
            total += result.size + result.safetensors_size
            print(f"{result.sha256[:12]}  {human_size(result.size):>9}  {result.path}", flush=True)
    _note(f"{len(entries) - failed} of {len(entries)} models, {human_size(total)}, in {args.directory}")
    return 1 if failed else 0


def _add_index(subparsers: Any) -> None:
    index = _parser(
        subparsers,
        "index",
        "maintain the index (for maintainers)",
        "Maintain the index.",
        "segzoo index pin --manifest /srv/weights/manifest.json",
    )
    actions = index.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = _parser(
        actions,
        "pin",
        "write measured hashes and sizes into model_index/",
        "Write the full sha256 and size of files that were downloaded into model_index/, from the cache or from a\n"
        "mirror's manifest. An entry that has another sha256 already stops it.",
        "segzoo index pin",
        "segzoo index pin 'fastfcn_*' --manifest /srv/weights/manifest.json",
    )
    parser.add_argument("pattern", nargs="*", default=["*"], help="models (default: all)")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="take the figures from a mirror's manifest")
    parser.add_argument("--index", type=Path, metavar="DIR", help="the YAML files (default: those segzoo reads)")
    parser.add_argument("--json", action="store_true", help="a JSON object: measured, changed")
    parser.set_defaults(run=_run_index_pin)


def _run_index_pin(args: argparse.Namespace) -> int:
    from segzoo.index import index_directory
    from segzoo.weights.mirror import read_manifest
    from segzoo.weights.pin import measured_by_mirror, measured_in_cache, pin

    entries = _entries(args.pattern)
    if args.manifest is not None:
        if not args.manifest.is_file():
            raise OptionError(f"there is no manifest {args.manifest}")
        measured = measured_by_mirror(entries, read_manifest(args.manifest))
    else:
        measured = measured_in_cache(entries, Store())
    directory = args.index or index_directory()
    changed = pin(directory, measured)
    if args.json:
        _print_json({"measured": {name: asdict(value) for name, value in measured.items()}, "changed": changed})
        return 0
    for name in changed:
        print(f"{measured[name].sha256}  {measured[name].size:>12}  {name}")
    _note(f"{len(measured)} of {len(entries)} entries measured, {len(changed)} written into {directory}")
    return 0
