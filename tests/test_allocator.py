"""Freed memory is used again, and returned in the end."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A map of 64 MiB stands while another one is filled and freed, as in a network; how many pages were cleared for them.
PROGRAM = """
import resource, torch
from segzoo.allocator import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        kept = torch.ones(16 << 20)
        kept = kept + 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
with kept_memory():
    faults()
    print(faults())
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's allocator")
def test_freed_memory_is_used_again() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, capture_output=True, text=True)
    usually, kept, afterwards = map(int, said.stdout.split())
    assert kept < usually / 2
    assert afterwards > 2 * kept
