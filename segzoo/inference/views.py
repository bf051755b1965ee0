"""One pass of the network over a picture: at one size, flipped or not, whole or in windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from segzoo.inference.taps import Taps, Tiles, linear, tile, window_starts

__all__ = ["Forward", "Network", "Pixels", "View"]


class Pixels(Protocol):
    """A picture, uint8 RGB (H, W, 3), of which rows can be taken: an array, a memory map, a raster."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Network:
    """The model as a function of uint8 pictures.

    ``forward`` takes normalised input (N, 3, H, W) on ``device`` and gives low-resolution logits (N, C, h, w).
    ``batch_size`` is how many windows go through at once; it is halved for good when memory runs out.
    """

    forward: Forward
    mean: Sequence[float]
    std: Sequence[float]
    device: torch.device
    dtype: torch.dtype
    channels_last: bool
    align_corners: bool
    batch_size: int

    def stack(self, windows: Sequence[Any]) -> Any:
        """Windows (H, W, 3) of a picture as one batch (N, H, W, 3)."""
        return np.stack(windows)

    def logits(self, pixels: Any) -> torch.Tensor:
        """Pictures (N, H, W, 3) uint8 -> low-resolution logits (N, h, w, C), float32."""
        done: list[torch.Tensor] = []
        while (start := sum(map(len, done))) < len(pixels):
            try:
                done.append(self.batch(pixels[start : start + self.batch_size]))
            except RuntimeError as error:
                if self.batch_size == 1 or not _is_out_of_memory(error):
                    raise
                self.batch_size //= 2
        return torch.cat(done) if len(done) > 1 else done[0]

    def batch(self, pixels: Any) -> torch.Tensor:
        """What :meth:`logits` gives for as many pictures as go through the network at once."""
        x = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device).permute(0, 3, 1, 2).to(torch.float32)
        mean = torch.tensor(self.mean, dtype=torch.float32, device=self.device).view(1, 3, 1, 1)
        scale = 1 / torch.tensor(self.std, dtype=torch.float64, device=self.device).view(1, 3, 1, 1)
        x.sub_(mean).mul_(scale.to(torch.float32))
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return self.forward(x.to(self.dtype, memory_format=layout)).to(torch.float32).permute(0, 2, 3, 1).contiguous()


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class View:
    """Low-resolution logits of one pass over ``pixels`` (H, W, 3 uint8: the network's input), made when asked for.

    The windows' logits stand side by side as one mosaic, row of windows after row of windows; ``whole`` is a mosaic of
    one. Only the rows of windows that a band of the picture reads are kept.

    ``size`` is the (height, width) that the logits are resized to at the end: the picture's own.
    """

    def __init__(
        self,
        network: Network,
        pixels: Pixels,
        size: tuple[int, int],
        *,
        crop: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
        flip: bool = False,
    ) -> None:
        self.network, self.pixels, self.size, self.flip = network, pixels, size, flip
        height, width = pixels.shape[:2]
        crop = crop or (height, width)
        stride = stride or crop
        self.window = (min(crop[0], height), min(crop[1], width))
        self.tops = window_starts(height, crop[0], stride[0])
        self.lefts = window_starts(width, crop[1], stride[1])
        self._open: dict[int, torch.Tensor] = {}
        self._low: tuple[int, int] | None = None
        self._classes = 0

    @property
    def low(self) -> tuple[int, int]:
        """Height and width of one window's logits. Runs the first row of windows if none has run yet."""
        if self._low is None:
            self._open[0] = self._run(0)
            height, width, self._classes = self._open[0].shape
            self._low = (height, width // len(self.lefts))
        return self._low

    @property
    def classes(self) -> int:
        """Channels of the logits."""
        self.low  # noqa: B018  the number is known once the network has run
        return self._classes

    def _run(self, row: int) -> torch.Tensor:
        """Logits of one row of windows, (h, w * windows, C)."""
        top, (height, width) = self.tops[row], self.window
        strip = self.pixels[top : top + height]
        if self.flip:
            strip = strip[:, ::-1]
        logits = self.network.logits(self.network.stack([strip[:, left : left + width] for left in self.lefts]))
        return torch.cat(list(logits), 1) if len(logits) > 1 else logits[0]

    def taps(self) -> tuple[Taps, Taps]:
        """The chain from the mosaic to the picture, along rows and along columns."""
        corners = self.network.align_corners
        low, starts, extent = self.low, (self.tops, self.lefts), self.pixels.shape[:2]
        chain = []
        for axis in range(2):
            taps = linear(low[axis], self.window[axis], corners)
            if len(starts[axis]) > 1:
                taps = taps.over_windows(starts[axis], low[axis], extent[axis])
            if extent[axis] != self.size[axis]:
                taps = taps.then(linear(extent[axis], self.size[axis], corners))
            chain.append(taps)
        return chain[0], chain[1].reversed() if self.flip else chain[1]

    def tiles(self, size: tuple[int, int]) -> tuple[Tiles, Tiles]:
        """The taps cut into tiles of ``size`` (height, width)."""
        rows, cols = self.taps()
        return tile(rows, size[0], self.network.device), tile(cols, size[1], self.network.device)

    def rows_of_windows(self, rows: Tiles) -> list[int]:
        """For every row of tiles, the last row of windows that it reads."""
        return torch.div(rows.index.amax(1), self.low[0], rounding_mode="floor").tolist()

    def read(self, rows: Tiles) -> tuple[torch.Tensor, Tiles]:
        """The rows of the mosaic that ``rows`` reads, and ``rows`` counted from the first of them.

        Bands are to be asked for from top to bottom: rows of windows that lie above this band are dropped.
        """
        height = self.low[0]
        low, high = int(rows.index.min()), int(rows.index.max())
        first, last = low // height, high // height
        self._open = {row: logits for row, logits in self._open.items() if row >= first}
        for row in range(first, last + 1):
            if row not in self._open:
                self._open[row] = self._run(row)
        parts = [self._open[row] for row in range(first, last + 1)]
        mosaic = torch.cat(parts) if len(parts) > 1 else parts[0]
        return mosaic[low - first * height : high - first * height + 1], Tiles(rows.size, rows.index - low, rows.weight)
