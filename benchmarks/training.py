"""Our training loop against a plain one: DataLoader, default memory format, mask after each step."""

import time
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

import pruners
from sweep import data, models
from sweep.study import Config
from sweep.training import Training

_ROUNDS = 5


def main() -> None:
    torch.set_num_threads(1)
    config = Config(
        dataset="digits", model="conv-5", criterion="random", sparsity=0.9, epochs=1000, batch_size=128
    )
    whole = data.load("digits", Path("data"), 0.1, 0)
    model = models.build("conv-5", whole.shape, whole.classes, 0)
    masks = pruners.prune("random", model, sparsity=0.9)
    ours = Training(config, model, whole)
    ours.mask(masks)

    plain = models.build("conv-5", whole.shape, whole.classes, 0).to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    images = ((whole.train.images.float() - whole.mean) / whole.deviation).contiguous()
    loader = DataLoader(TensorDataset(images, whole.train.labels), 128, shuffle=True, drop_last=True)

    def plain_epoch() -> None:
        plain.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(plain(inputs), labels).backward()
            optimizer.step()
            pruners.apply_masks(plain, masks)

    def seconds(epoch) -> float:
        started = time.perf_counter()
        epoch()
        return time.perf_counter() - started

    seconds(ours.train_epoch), seconds(plain_epoch)
    pairs = [(seconds(ours.train_epoch), seconds(plain_epoch)) for _ in range(_ROUNDS)]
    mine, theirs = (median(column) for column in zip(*pairs, strict=True))
    print(
        f"training, conv-5 on digits, one thread: {mine * 1e3:.0f} ms an epoch, plain loop {theirs * 1e3:.0f} ms: "
        f"{median(b / a for a, b in pairs):.2f} times faster (median of {_ROUNDS} pairs)"
    )


if __name__ == "__main__":
    main()
