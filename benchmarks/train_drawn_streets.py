"""Train the embedded Fast-SCNN on drawn streets, or measure the one that ships.

    python benchmarks/train_drawn_streets.py --out segzoo/assets/fast_scnn_drawn_streets.safetensors
    python benchmarks/train_drawn_streets.py --evaluate-only

The first draws its own pictures, trains and writes the file; the second loads the shipped file by name, as a user
does, and adds its accuracy on streets that training never saw to benchmarks/logs/.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from any folder

from benchmarks.drawn_streets_accuracy import DEFAULT_LOG, ENTRY, add_record, measure, print_table
from segzoo.build import build
from segzoo.datasets.drawn_streets import sample_paths, seeds, write
from segzoo.evaluation.metrics import ConfusionMatrix
from segzoo.index import find
from segzoo.segmentor import Segmentor

SIZE = (512, 1024)
CROP = (320, 640)
ZOOM = (1.25, 2.1)  # a crop shows a part of the picture that is this much smaller: its own scale is 1.6
LOSS_STRIDE = 2  # the loss is taken on every second pixel: a quarter of the cost, the same boundaries


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and do what it asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the trained weights go (.safetensors)")
    parser.add_argument("--evaluate-only", action="store_true", help="measure the shipped file and write the log")
    parser.add_argument("--data", type=Path, help="folder for the training pictures (default: a temporary one)")
    parser.add_argument("--pictures", type=int, default=1200, help="training pictures (default: 1200)")
    parser.add_argument("--iterations", type=int, default=4000, help="steps (default: 4000)")
    parser.add_argument("--batch", type=int, default=6, help="crops a step (default: 6)")
    parser.add_argument("--lr", type=float, default=3e-3, help="highest learning rate (default: 0.003)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and augmentation (default: 0)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: as torch chooses)")
    parser.add_argument("--compile", action="store_true", help="compile the network (needs a C++ compiler)")
    parser.add_argument("--resume", type=Path, help="file that keeps the state of training; continued if there")
    parser.add_argument("--checked", type=int, default=24, help="pictures looked at while training (default: 24)")
    parser.add_argument("--evaluate", type=int, default=200, help="pictures to measure on (default: 200)")
    parser.add_argument("--log", type=Path, default=DEFAULT_LOG, help="JSON-lines file that gets the record")
    args = parser.parse_args(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    if args.evaluate_only:
        record = measure(count=args.evaluate, size=SIZE)
        print_table(record)
        add_record(record, args.log)
        return
    if args.out is None:
        parser.error("give --out FILE, or --evaluate-only")
    if args.batch < 2:
        parser.error("--batch: batch normalisation needs two crops or more")
    train(args)


class Streets:
    """Random crops of drawn streets, kept in memory once read (about 2 MB a picture)."""

    def __init__(self, root: Path, numbers: range, seed: int) -> None:
        self.root, self.numbers = root, numbers
        self.rng = np.random.default_rng(seed)
        self.read: dict[int, tuple[Image.Image, Image.Image]] = {}

    def picture(self, number: int) -> tuple[Image.Image, Image.Image]:
        """A whole picture and its labels."""
        if number not in self.read:
            picture, labels = (Image.open(path) for path in sample_paths(self.root, "train", number))
            self.read[number] = picture.convert("RGB"), labels.convert("L")
        return self.read[number]

    def batch(self, count: int, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised crops (count, 3, H, W) and their labels (count, H, W)."""
        pairs = [self.crop(*self.picture(int(self.rng.choice(self.numbers)))) for _ in range(count)]
        pictures = torch.from_numpy(np.stack([picture for picture, _ in pairs])).permute(0, 3, 1, 2)
        labels = torch.from_numpy(np.stack([label for _, label in pairs])).long()
        return ((pictures - mean) / std).contiguous(), labels

    def crop(self, picture: Image.Image, labels: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """One crop, mirrored or not, in other colours: float32 (H, W, 3), 0 to 255, and uint8 (H, W)."""
        rng, (height, width) = self.rng, CROP
        zoom = math.exp(rng.uniform(math.log(ZOOM[0]), math.log(ZOOM[1])))
        tall, wide = picture.height / zoom, picture.width / zoom
        top, left = rng.uniform(0, picture.height - tall), rng.uniform(0, picture.width - wide)
        box = (left, top, left + wide, top + tall)
        colours = picture.resize((width, height), Image.Resampling.BILINEAR, box)
        image = np.asarray(colours, np.float32)
        label = np.asarray(labels.resize((width, height), Image.Resampling.NEAREST, box))
        if rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        image = (image - 128) * rng.uniform(0.75, 1.3) + 128 + rng.uniform(-28, 28)
        grey = image.mean(axis=2, keepdims=True)
        image = grey + (image - grey) * rng.uniform(0.5, 1.4)
        image = image * rng.uniform(0.92, 1.08, 3).astype(np.float32)
        return np.clip(image, 0, 255).astype(np.float32), label.copy()


def overlap_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the soft intersection over union, averaged over the classes of the batch.

    Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation", 2016: what
    is to be high is what is optimised, so thin poles weigh as much as wide roads.
    """
    shares = logits.softmax(dim=1)
    truth = torch.zeros_like(shares).scatter_(1, labels[:, None], 1.0)
    hit = (shares * truth).sum(dim=(0, 2, 3))
    total = shares.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3)) - hit
    present = truth.sum(dim=(0, 2, 3)) > 0
    return 1 - (hit[present] / total[present]).mean()


def network() -> Segmentor:
    """The entry's network, with the auxiliary heads that Fast-SCNN is published with; only training uses them."""
    entry, published = find(ENTRY), find("fast_scnn_cityscapes")
    architecture = dataclasses.replace(entry.architecture, auxiliary_head=published.architecture.auxiliary_head)
    entry = dataclasses.replace(entry, architecture=architecture)
    return build(entry, model_class=Segmentor, auxiliary=True)


def objective(outputs: list[Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy and overlap loss of the decode head's logits, and 0.4 of each auxiliary head's cross-entropy."""
    targets = labels[:, ::LOSS_STRIDE, ::LOSS_STRIDE]
    size = tuple(targets.shape[1:])
    logits = F.interpolate(outputs[0], size=size, mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, targets) + overlap_loss(logits, targets)
    for auxiliary in outputs[1:]:
        step = labels.shape[1] // auxiliary.shape[2]
        total = total + 0.4 * F.cross_entropy(auxiliary, labels[:, step // 2 :: step, step // 2 :: step])
    return total


def rate(step: int, steps: int) -> float:
    """Share of the highest learning rate: a linear start, then the zoo's polynomial decay."""
    start = min(100, max(1, steps // 10))
    return min((step + 1) / start, (1 - step / steps) ** 0.9)


def train(args: argparse.Namespace) -> None:
    """Draw, train, save; the state is kept in `--resume` every 100 steps."""
    torch.manual_seed(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        root = args.data or Path(scratch)
        pictures = write(root, train=args.pictures, val=args.checked, size=SIZE)
        for _ in tqdm(pictures, total=args.pictures + args.checked, desc="drawing", unit="picture"):
            pass
        model = network()
        optimise(model, Streets(root, seeds("train", args.pictures), args.seed), args)


def optimise(model: Segmentor, streets: Streets, args: argparse.Namespace) -> None:
    """Run the schedule and write the averaged weights to `--out`."""
    decay = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 1e-2}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.lr)
    averaging = torch.optim.swa_utils.get_ema_multi_avg_fn(0.98)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=averaging, use_buffers=True)
    first = restore(args.resume, model, average, optimizer)
    protocol = model.entry.protocol
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (protocol.mean, protocol.std))

    def outputs(x: Tensor) -> list[Tensor]:
        features = model.features(x)
        return [model.decode(features), *model.auxiliary(features)]

    forward: Callable[[Tensor], list[Tensor]] = torch.compile(outputs) if args.compile else outputs
    bar = tqdm(range(first, args.iterations), initial=first, total=args.iterations, desc="training")
    smooth = math.nan
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = args.lr * rate(step, args.iterations)
        model.train()
        x, labels = streets.batch(args.batch, mean, std)
        loss = objective(forward(x), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(model)
        smooth = loss.item() if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss.item()
        bar.set_postfix(loss=f"{smooth:.3f}")
        done = step + 1 == args.iterations
        if done or (step + 1) % 100 == 0:
            keep(args.resume, model, average, optimizer, step + 1)
            export(average.module, args.out)
        if done or (step + 1) % 500 == 0:
            tqdm.write(f"step {step + 1}: mIoU {look(average.module, streets.root, args.checked, mean, std):.2f}")
    print(f"{args.out}: {args.out.stat().st_size} bytes")


def look(model: nn.Module, root: Path, count: int, mean: Tensor, std: Tensor) -> float:
    """A quick mIoU on a few validation pictures; the figure that counts comes from `--evaluate-only`."""
    assert isinstance(model, Segmentor)
    matrix = ConfusionMatrix(model.num_classes)
    model.eval()
    with torch.inference_mode():
        for number in seeds("val", count):
            picture, labels = (np.array(Image.open(path)) for path in sample_paths(root, "val", number))
            x = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
            matrix.update(model((x - mean) / std).argmax(1)[0], torch.from_numpy(labels))
    return matrix.summary()["mIoU"]


def export(model: nn.Module, path: Path) -> None:
    """Write the network without its auxiliary heads: convolutions as float16, all else as it is."""
    tensors = {
        name: (value.half() if value.ndim > 1 else value).contiguous()
        for name, value in model.state_dict().items()
        if not name.startswith("auxiliary_head.")
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"format": "pt", "entry": ENTRY})
    part.replace(path)


def keep(path: Path | None, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Save the state of training."""
    if path is None:
        return
    state = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
    part = path.with_suffix(".part")
    torch.save({**state, "step": step}, part)
    part.replace(path)


def restore(path: Path | None, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load the state of training if there is one, and return the step to go on from."""
    if path is None or not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    step: int = state["step"]
    return step


if __name__ == "__main__":
    main()
