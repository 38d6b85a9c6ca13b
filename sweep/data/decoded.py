"""Decoded data sets on disk: written once, then mapped into the memory of every process that wants them."""

import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from sweep.errors import BadInput

FOLDER = ".secateur"
_LAYOUT = "1"  # part of every fingerprint: another number when what is stored comes to mean something else


def fingerprint(root: Path, files: Iterable[tuple[str, int]]) -> str:
    """What files under `root` are: 16 hex digits of their names, labels, sizes and times of change.

    Raises:
        BadInput: one of them is gone, or is no file to read from (a pipe, a device, a folder).
    """
    digest, prefix = hashlib.sha256(_LAYOUT.encode()), str(root)
    for path, label in files:
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path for each of many files takes longer than this
        except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
            why = getattr(error, "strerror", error)
            raise BadInput(f"{path}: {why}: get the file back, or remove what names it") from None
        if not stat.S_ISREG(found.st_mode):  # to open a pipe waits for who writes to it
            raise BadInput(f"{path}: is no regular file: put one there, or remove it")
        text = f"{path.removeprefix(prefix)}\0{label}\0{found.st_size}\0{found.st_mtime_ns}\n"
        digest.update(text.encode(errors="surrogateescape"))  # the name's own bytes where they are no UTF-8
    return digest.hexdigest()[:16]


def kept(
    root: Path, key: str, names: Sequence[str], make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The tensors that `make` gives under these names, from ROOT/.secateur/KEY if they were kept there.

    Of several processes that want them at once, one makes them and the others wait for it. A folder appears
    whole or not at all. Where nothing can be written, the made tensors themselves are given and nothing is
    kept. The folder may be deleted at any time.

    Returns:
        Tensors on the CPU that share their memory with all processes here. One that is written to is
        changed for this process only, never in the file.
    """
    folder = root / FOLDER / key
    try:
        return _mapped(folder, names)
    except OSError:
        pass
    lock = FileLock(folder.with_name(f"{key}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError):  # read-only, full, or without locks
        return make()
    try:
        try:
            return _mapped(folder, names)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
        made = make()
        try:
            _write(folder, made)
            return _mapped(folder, names)
        except OSError:
            return made
    finally:
        lock.release()


def _mapped(folder: Path, names: Sequence[str]) -> dict[str, Tensor]:
    return {name: _tensor(folder / f"{name}.npy") for name in names}


def _tensor(file: Path) -> Tensor:
    if file.exists() and not file.is_file():
        raise OSError(f"{file} is no regular file")  # to open a pipe waits for who writes to it
    try:
        # Mode "c" maps copy-on-write: shared as long as it is only read; PyTorch has no read-only tensors.
        return torch.from_numpy(np.lib.format.open_memmap(file, mode="c"))
    except Exception as error:  # what NumPy meets in a damaged file it raises as it comes
        raise OSError(f"{file} cannot be read") from error


def _write(folder: Path, tensors: dict[str, Tensor]) -> None:
    for left_over in folder.parent.glob(f"{folder.name}.*.part"):  # by a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    # Not by tempfile, whose folders other users cannot read.
    part = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.part")
    try:
        part.mkdir()
        for name, tensor in tensors.items():
            with (part / f"{name}.npy").open("wb") as file:
                np.save(file, tensor.numpy())
                file.flush()
                os.fsync(file.fileno())
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
