"""Decoded data sets on disk: written once, then mapped into the memory of every process that reads them."""

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
# Part of every fingerprint; to be changed when the meaning of the stored tensors changes.
_LAYOUT = "1"


def fingerprint(root: Path, files: Iterable[tuple[str, int]]) -> str:
    """A hash of the names, labels, sizes and modification times of files under `root`: 16 hex digits.

    Raises:
        BadInput: a file is gone, or is no regular file (a pipe, a device, a folder).
    """
    digest, prefix = hashlib.sha256(_LAYOUT.encode()), str(root)
    for path, label in files:
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path for each of many files takes longer than this
        except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
            why = getattr(error, "strerror", error)
            raise BadInput(f"{path}: {why}: get the file back, or remove what names it") from None
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer
            raise BadInput(f"{path}: is no regular file: put one there, or remove it")
        text = f"{path.removeprefix(prefix)}\0{label}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(text.encode(errors="surrogateescape"))  # names may have bytes that are not UTF-8
    return digest.hexdigest()[:16]


def kept(
    root: Path, key: str, names: Sequence[str], make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Named tensors from ROOT/.secateur/KEY; if they are not kept there, `make` computes them first.

    If several processes need them at once, one computes them and the others wait. The folder is created
    atomically, and may be deleted at any time. If it cannot be written, the computed tensors are returned and
    nothing is kept.

    Args:
        key: name of the folder.
        names: names of the tensors that `make` returns.

    Returns:
        Tensors on the CPU that share their memory with all processes of the machine. Writing to one changes
        it for this process only, and not in the file.
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
    except (OSError, NotImplementedError):  # the disk is read-only, full, or does not support locks
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
        raise OSError(f"{file} is no regular file")  # opening a pipe would wait for a writer
    try:
        # Mode "c" maps copy-on-write: memory is shared until written to. PyTorch has no read-only tensors.
        return torch.from_numpy(np.lib.format.open_memmap(file, mode="c"))
    except Exception as error:  # NumPy raises many kinds for a damaged file
        raise OSError(f"{file} cannot be read") from error


def _write(folder: Path, tensors: dict[str, Tensor]) -> None:
    for abandoned in folder.parent.glob(f"{folder.name}.*.part"):  # by a process that was killed
        shutil.rmtree(abandoned, ignore_errors=True)
    # Other users could not read a folder made by `tempfile`.
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
