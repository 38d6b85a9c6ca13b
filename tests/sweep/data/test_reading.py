"""Tiny data sets in the very formats they are published in, so that torchvision's own readers read them."""

import gzip
import hashlib
import os
import pickle
import random
import struct
import threading
import urllib.request
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets as published

from sweep import data
from sweep.data import catalog, decoded, reading
from sweep.errors import BadInput

TRAIN, TEST = 20, 6


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing is fetched, but from a server that a test starts itself."""
    opened = urllib.request.urlopen

    def here(request, *rest, **options):
        assert request.full_url.startswith("http://127.0.0.1:"), "a test asked the network"
        return opened(request, *rest, **options)

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(urllib.request, "urlopen", here)
    reading.find.cache_clear()
    data.load.cache_clear()


@pytest.fixture
def mirror(tmp_path):
    """A folder, and the address under which it is served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / "mirror"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def drawn(count, *shape, classes=10):
    source = np.random.default_rng(count)
    return source.integers(0, 256, (count, *shape), dtype=np.uint8), source.integers(0, classes, count)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def idx(array):
    """The format of MNIST's files: a magic number, sizes, and the bytes."""
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def mnist_like(root, name):
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        images, labels = drawn(count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels.astype(np.uint8)))
    return (TRAIN, 1, 28, 28), lambda count: drawn(count, 28, 28)[0][:, None], 10


def cifar_like(root, reader, names, labels_key, meta, monkeypatch):
    folder = root / reader.base_folder
    folder.mkdir()
    classes = 10 if reader is published.CIFAR10 else 100
    hashes = []
    for name, count, part in names:
        images, labels = drawn(count, 3, 32, 32, classes=classes)
        rows = slice(None) if part is None else slice(part * 4, part * 4 + 4)
        batch = {"data": images[rows].reshape(-1, 3072), labels_key: labels[rows].tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))
        hashes.append([name, md5(folder / name)])
    (folder / meta[0]).write_bytes(pickle.dumps({meta[1]: [str(i) for i in range(classes)]}))
    # The reader's own check of files stays on, against the hashes of these.
    monkeypatch.setattr(reader, "train_list", hashes[:-1])
    monkeypatch.setattr(reader, "test_list", hashes[-1:])
    monkeypatch.setattr(reader, "meta", {"filename": meta[0], "key": meta[1], "md5": md5(folder / meta[0])})
    return (TRAIN, 3, 32, 32), lambda count: drawn(count, 3, 32, 32, classes=classes)[0], classes


def cifar10(root, monkeypatch):
    names = [*((f"data_batch_{i + 1}", TRAIN, i) for i in range(5)), ("test_batch", TEST, None)]
    return cifar_like(root, published.CIFAR10, names, "labels", ("batches.meta", "label_names"), monkeypatch)


def cifar100(root, monkeypatch):
    names = [("train", TRAIN, None), ("test", TEST, None)]
    return cifar_like(
        root, published.CIFAR100, names, "fine_labels", ("meta", "fine_label_names"), monkeypatch
    )


def svhn(root, monkeypatch):
    """Images are (32, 32, 3, N) there, and a zero is labelled 10."""
    (root / "svhn").mkdir()
    split_list = {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        images, labels = drawn(count, 3, 32, 32)
        labels = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        file = root / "svhn" / f"{part}_32x32.mat"
        savemat(file, {"X": images.transpose(2, 3, 1, 0), "y": labels})
        split_list[part] = ["", file.name, md5(file)]
    monkeypatch.setattr(published.SVHN, "split_list", split_list)
    return (TRAIN, 3, 32, 32), lambda count: drawn(count, 3, 32, 32)[0], 10


SETS = {
    "mnist": lambda root, _: mnist_like(root, "MNIST"),
    "fashion-mnist": lambda root, _: mnist_like(root, "FashionMNIST"),
    "kmnist": lambda root, _: mnist_like(root, "KMNIST"),
    "cifar10": cifar10,
    "cifar100": cifar100,
    "svhn": svhn,
}


def save(folder, name, color, size=(64, 64), mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(folder / name)


def tiny_imagenet(root):
    """The layout of the official archive; some of its images are grey."""
    folder = root / "tiny-imagenet-200"
    lines = []
    for label, name in enumerate(("n01", "n02", "n03")):
        for i in range(4):
            save(folder / "train" / name / "images", f"{name}_{i}.JPEG", (80 * label, 0, 0))
        (folder / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t63\t63\n")
    for i, label in enumerate((2, 0, 1, 2)):
        save(folder / "val" / "images", f"val_{i}.JPEG", 80 * label, mode="L")
        lines.append(f"val_{i}.JPEG\tn0{label + 1}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    save(folder / "test" / "images", "test_0.JPEG", (9, 9, 9))
    (folder / "wnids.txt").write_text("n02\nn01\nn03\n")
    return folder


def image_folder(folder, parts=("train", "test"), size=(32, 32)):
    for part in parts:
        for label, name in enumerate(("cat", "dog")):
            for i in range(5):
                save(folder / part / name, f"{i}.png", (label * 100, i, 7), size)


@pytest.mark.parametrize("name", SETS)
def test_published_files_are_read_as_they_are(name, tmp_path, monkeypatch):
    shape, pixels, classes = SETS[name](tmp_path, monkeypatch)
    assert data.check(name, tmp_path).shape == shape[1:] == data.SHAPES[name]
    for _ in range(2):  # decoded, and from the cache
        reading.find.cache_clear()
        found = reading.find(name, tmp_path)
        assert found.classes == classes
        for count, (images, labels) in ((TRAIN, found.train), (TEST, found.test)):
            assert images.dtype == torch.uint8 and labels.dtype == torch.int64
            assert torch.equal(images, torch.from_numpy(pixels(count)))
            assert torch.equal(labels, torch.from_numpy(drawn(count, *shape[1:], classes=classes)[1]))
    assert (tmp_path / decoded.FOLDER).exists()


@pytest.mark.parametrize("name", ["cifar10", "svhn", "mnist"])
def test_damaged_files_are_refused_with_the_command_that_gets_them(name, tmp_path, monkeypatch):
    SETS[name](tmp_path, monkeypatch)
    file = tmp_path / catalog.DATASETS[name].files[0]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"are damaged .* get it with: python -c") as error:
        data.load(name, tmp_path, 0.1, 0)
    assert "\n" not in str(error.value)


def test_the_hashes_of_real_files_are_torchvisions_own():
    # Those that the tests above put in their place: a reader without them would take anything.
    assert published.CIFAR10.train_list[0] == ["data_batch_1", "c99cafc152244af753f735de768cd75f"]
    assert published.CIFAR100.test_list == [["test", "f0ef6b0ae62326f3e7ffdfab6717acfc"]]
    assert published.SVHN.split_list["test"][2] == "eb5a983be6a315427106f1b164d9cef3"


@pytest.mark.parametrize("name", sorted(set(data.DATASETS) - {"digits", "text:kjv"}))
def test_a_set_that_is_missing_is_one_line_with_what_to_do(name, tmp_path):
    for ask in (data.check, lambda *where: data.load(*where, 0.1, 0)):
        with pytest.raises(
            BadInput, match=rf"{name}: it is not under .*; (get it with: |expected are )"
        ) as error:
            ask(name, tmp_path)
        assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "name", sorted(set(data.DATASETS) - {"digits", "imagenet", "text:kjv", "tiny-imagenet"})
)
def test_the_command_of_the_line_is_one_that_gets_it(name, tmp_path, monkeypatch):
    asked = []
    reader, folder, _ = catalog.DATASETS[name].torchvision
    monkeypatch.setattr(published, reader, lambda *where, download: asked.append((*where, download)))
    exec(catalog.hint(name, tmp_path).partition('"')[2].partition('"')[0], {})
    where = str(tmp_path / folder)
    assert asked == ([(where, part, True) for part in ("train", "test")] if folder else [(where, True)])


def test_cifar10_as_image_folders_is_taken_if_torchvisions_files_are_not_there(tmp_path, monkeypatch):
    image_folder(tmp_path / "cifar10")
    assert data.check("cifar10", tmp_path).shape == (3, 32, 32)
    found = reading.find("cifar10", tmp_path)
    assert found.classes == 2 and len(found.train[1]) == len(found.test[1]) == 10
    # The same images by their other name are not kept a second time.
    assert reading.find("image-folder:cifar10", tmp_path).key == found.key
    cifar10(tmp_path, monkeypatch)
    reading.find.cache_clear()
    assert len(reading.find("cifar10", tmp_path).train[1]) == TRAIN


def test_images_of_another_size_are_not_taken_for_cifar10(tmp_path):
    image_folder(tmp_path / "cifar10", size=(9, 9))
    with pytest.raises(BadInput, match="9×9"):
        data.load("cifar10", tmp_path, 0.2, 0)


def test_tiny_imagenet_is_read_from_the_layout_of_its_archive(tmp_path):
    tiny_imagenet(tmp_path)
    assert data.check("tiny-imagenet", tmp_path).shape == (3, 64, 64)
    found = reading.find("tiny-imagenet", tmp_path)
    assert found.classes == 3 and found.train[0].shape == (12, 3, 64, 64)
    assert found.train[1].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.test[1].tolist() == [2, 0, 1, 2]
    # JPEG is lossy, but not by much on one color; grey images have three channels like all.
    for (images, labels), channels in ((found.train, 1), (found.test, 3)):
        shown = images[:, :channels].float().mean((1, 2, 3))
        assert torch.allclose(shown, labels * 80.0, atol=2)


def test_a_wrong_annotation_is_told_with_its_line(tmp_path):
    file = tiny_imagenet(tmp_path) / "val" / "val_annotations.txt"
    file.write_text(file.read_text() + "val_9.JPEG\tn99\t0\t0\t63\t63\n")
    with pytest.raises(BadInput, match=r"val_annotations\.txt:5: expected is IMAGE"):
        data.load("tiny-imagenet", tmp_path, 0.2, 0)


def test_an_annotated_image_that_is_missing_is_named(tmp_path):
    (tiny_imagenet(tmp_path) / "val" / "images" / "val_1.JPEG").unlink()
    with pytest.raises(BadInput, match=r"val_1\.JPEG: No such file"):
        data.load("tiny-imagenet", tmp_path, 0.2, 0)


def test_class_folders_of_train_and_test_must_be_the_same(tmp_path):
    image_folder(tmp_path / "pets")
    save(tmp_path / "pets" / "test" / "bird", "0.png", (0, 0, 0))
    with pytest.raises(BadInput, match="must have the same class folders"):
        data.load("image-folder:pets", tmp_path, 0.2, 0)


def test_images_are_listed_as_torchvision_lists_them(tmp_path):
    image_folder(tmp_path / "pets")
    for name in ("cat/b/0.PNG", "cat/a/1.jpeg", "cat/a.b/2.png", "dog/.png", "dog/é/3.png"):
        save((tmp_path / "pets" / "train" / name).parent, "x.png", (1, 2, 3), (32, 32))
        (tmp_path / "pets" / "train" / name).parent.joinpath("x.png").rename(tmp_path / "pets/train" / name)
    (tmp_path / "pets" / "train" / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / "train" / "dog" / "linked").symlink_to("../cat/a")
    (tmp_path / "pets" / "test" / "elsewhere").symlink_to(tmp_path / "pets" / "train" / "cat")
    save(tmp_path / "pets" / "train" / "elsewhere", "0.png", (1, 2, 3), (32, 32))
    usual = [published.ImageFolder(str(tmp_path / "pets" / part)) for part in ("train", "test")]
    found = reading.listing("image-folder:pets", tmp_path)
    assert found == ([*usual[0].samples], [*usual[1].samples], 3) and len(found.train) == 17


@pytest.mark.parametrize("target", [".", "..", "../../test/dog"])
def test_a_link_that_leads_back_is_one_line_and_not_followed_for_ever(tmp_path, target):
    image_folder(tmp_path / "pets")
    for name in ("one", "other"):
        (tmp_path / "pets" / "train" / "cat" / name).symlink_to(target)
    (tmp_path / "pets" / "test" / "dog" / "back").symlink_to("../../train/cat")
    with pytest.raises(BadInput, match=r"/(one|other|back): is a link to a folder that it is in: remove it"):
        reading.find("image-folder:pets", tmp_path)


def test_folders_without_classes_or_images_are_named(tmp_path):
    image_folder(tmp_path / "pets")
    (tmp_path / "pets" / "train" / "ant").mkdir()
    with pytest.raises(BadInput, match="train/ant: has no images"):
        data.check("image-folder:pets", tmp_path)
    for part in ("train", "test"):
        (tmp_path / "none" / part).mkdir(parents=True)
    with pytest.raises(BadInput, match="train: has no class folders"):
        data.check("image-folder:none", tmp_path)


@pytest.mark.parametrize(
    "name", ["image-folder:" + "x" * 5000, "image-folder:" + "é" * 200, "image-folder:a\0b"]
)
def test_a_name_that_no_folder_can_have_is_one_line(tmp_path, name):
    for ask in (data.check, catalog.download):
        with pytest.raises(BadInput) as error:
            ask(name, tmp_path)
        assert "\n" not in str(error.value)
    with pytest.raises(BadInput, match=r"mnist: .* name another place"):
        data.check("mnist", tmp_path / ("x" * 300))


def test_names_that_are_no_utf_8_are_names_like_others(tmp_path):
    image_folder(tmp_path / "pets")
    for part in ("train", "test"):
        (tmp_path / "pets" / part / "cat").rename(tmp_path / "pets" / part / os.fsdecode(b"c\xe4t"))
    assert reading.find("image-folder:pets", tmp_path).train[0].shape == (10, 3, 32, 32)
    assert any((tmp_path / decoded.FOLDER).glob("pets-*/train_images.npy"))
    os.mkfifo(tmp_path / "pets" / "train" / os.fsdecode(b"c\xe4t/p\xffpe.png"))
    reading.find.cache_clear()
    with pytest.raises(BadInput, match=r"c\\udce4t/p\\udcffpe\.png: is no regular file") as error:
        reading.find("image-folder:pets", tmp_path)
    assert str(error.value).encode()


@pytest.mark.parametrize("room", [0, 1 << 40])
@pytest.mark.parametrize("name", ["0.png", "9.png"])  # the first, of which the shape is, and another
def test_a_pipe_among_the_images_is_one_line_and_not_waited_for(tmp_path, name, room, monkeypatch):
    monkeypatch.setattr(reading, "room", lambda device: room)
    image_folder(tmp_path / "pets")
    file = tmp_path / "pets" / "train" / "cat" / name
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    with pytest.raises(BadInput, match=rf"cat/{name}: .* regular file"):
        data.check("image-folder:pets", tmp_path)
        data.load("image-folder:pets", tmp_path, 0.2, 0)


def test_pipes_in_place_of_published_files_are_one_line_and_not_waited_for(tmp_path, monkeypatch):
    mnist_like(tmp_path, "MNIST")
    tiny_imagenet(tmp_path)
    for file in ("MNIST/raw/train-images-idx3-ubyte", "tiny-imagenet-200/val/val_annotations.txt"):
        (tmp_path / file).unlink()
        os.mkfifo(tmp_path / file)
    for name in ("mnist", "tiny-imagenet"):
        with pytest.raises(BadInput, match="is no regular file"):
            data.load(name, tmp_path, 0.2, 0)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 40, idx(np.zeros((20, 3), dtype=np.uint8)), b"\x00\x00\x0d\x03" + b"\0" * 20]
)
def test_files_of_another_kind_are_one_line_whatever_their_reader_raises(tmp_path, content):
    mnist_like(tmp_path, "MNIST")
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(BadInput, match=r"are damaged .* get it with") as error:
        data.load("mnist", tmp_path, 0.2, 0)
    assert "\n" not in str(error.value)


def test_names_in_annotations_that_are_no_utf_8_or_no_names_are_one_line(tmp_path):
    file = tiny_imagenet(tmp_path) / "val" / "val_annotations.txt"
    for line in (b"v\xffl.JPEG\tn01\n", b"v\0l.JPEG\tn01\n", b"x" * 300 + b"\tn01\n"):
        file.write_bytes(line)
        with pytest.raises(BadInput, match="get the file back") as error:
            data.load("tiny-imagenet", tmp_path, 0.2, 0)
        assert str(error.value).encode()


def test_what_changed_on_disk_is_decoded_anew(tmp_path):
    image_folder(tmp_path / "pets")
    first = reading.find("image-folder:pets", tmp_path)
    save(tmp_path / "pets" / "train" / "dog", "z.png", (1, 2, 3), (32, 32))
    reading.find.cache_clear()
    second = reading.find("image-folder:pets", tmp_path)
    assert len(first.train[1]) + 1 == len(second.train[1]) and first.key != second.key


def test_a_kept_set_is_not_decoded_again(tmp_path, monkeypatch):
    image_folder(tmp_path / "pets")
    first = reading.find("image-folder:pets", tmp_path)
    reading.find.cache_clear()
    monkeypatch.setattr(reading, "sized", None)
    monkeypatch.setattr(reading, "_deep", None)
    second = reading.find("image-folder:pets", tmp_path)
    assert torch.equal(first.train[0], second.train[0]) and torch.equal(first.test[1], second.test[1])


def test_what_an_earlier_version_kept_is_believed_unless_it_was_clipped(tmp_path, monkeypatch):
    image_folder(tmp_path / "pets")
    image_folder(tmp_path / "scans")
    for file in (tmp_path / "scans").rglob("*.png"):
        Image.fromarray(np.full((32, 32), 128 << 8, dtype=np.uint16)).save(file)
    for name in ("pets", "scans"):
        train, test, _ = reading.listing(f"image-folder:{name}", tmp_path)
        labels = torch.tensor([label for _, label in train])
        kept = torch.full((10, 3, 32, 32), 255, dtype=torch.uint8)
        # Under the key of the versions that clipped, which is the names, labels, sizes and times of the files.
        key = f"{name}-{decoded.fingerprint(tmp_path, train + test)}"
        tensors = dict(zip(reading.InMemory._fields, (kept, labels, kept, labels), strict=True))
        decoded.kept(tmp_path, key, reading.InMemory._fields, partial(dict, tensors))
    assert reading.find("image-folder:pets", tmp_path).train[0].unique().tolist() == [255]
    assert reading.find("image-folder:scans", tmp_path).train[0].unique().tolist() == [128]


def test_one_image_without_a_scale_is_refused_though_it_was_kept_clipped(tmp_path):
    image_folder(tmp_path / "pets")
    Image.fromarray(np.ones((32, 32), dtype=np.float32)).save(tmp_path / "pets" / "test" / "dog" / "9.tiff")
    train, test, _ = reading.listing("image-folder:pets", tmp_path)
    kept = {name: torch.zeros(10, 3, 32, 32, dtype=torch.uint8) for name in reading.InMemory._fields}
    key = f"pets-{decoded.fingerprint(tmp_path, train + test)}"
    decoded.kept(tmp_path, key, reading.InMemory._fields, lambda: kept)
    with pytest.raises(BadInput, match=r"9\.tiff: no header says which of its values"):
        reading.find("image-folder:pets", tmp_path)


def test_without_a_place_to_keep_it_a_set_is_used_from_memory(tmp_path):
    image_folder(tmp_path / "pets")
    (tmp_path / decoded.FOLDER).write_text("in the way")
    assert reading.find("image-folder:pets", tmp_path).train[0].shape == (10, 3, 32, 32)


@pytest.mark.slow
def test_download_gets_what_is_missing_and_asks_for_nothing_otherwise(tmp_path, mirror, monkeypatch):
    folder, address = mirror
    mnist_like(folder, "KMNIST")
    resources = []
    for file in sorted((folder / "KMNIST" / "raw").iterdir()):
        packed = folder / f"{file.name}.gz"
        packed.write_bytes(gzip.compress(file.read_bytes()))
        resources.append((packed.name, md5(packed)))
    monkeypatch.setattr(published.KMNIST, "mirrors", [address])
    monkeypatch.setattr(published.KMNIST, "resources", resources)
    root = tmp_path / "data"
    with pytest.raises(BadInput, match="it is not under"):
        data.load("kmnist", root, 0.1, 0)
    catalog.download("kmnist", root)
    whole = data.load("kmnist", root, 0.1, 0)
    assert len(whole.train) + len(whole.validation) == TRAIN
    monkeypatch.setattr(published.KMNIST, "mirrors", [])
    catalog.download("kmnist", root)


@pytest.mark.slow
def test_tiny_imagenet_can_be_downloaded_too_if_it_is_the_right_one(tmp_path, mirror, monkeypatch):
    folder, address = mirror
    archive = folder / "tiny-imagenet-200.zip"
    source = tiny_imagenet(tmp_path / "source")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(source.rglob("*")):
            file.write(path, path.relative_to(source.parent))
    monkeypatch.setattr(catalog, "_TINY_URL", address + archive.name)
    with pytest.raises(BadInput, match=r"downloading it failed .* get it with: curl"):
        catalog.download("tiny-imagenet", tmp_path / "data")
    monkeypatch.setattr(catalog, "_TINY_MD5", md5(archive))
    catalog.download("tiny-imagenet", tmp_path / "data")
    assert data.load("tiny-imagenet", tmp_path / "data", 0.2, 0).classes == 3


@pytest.mark.parametrize("name", ["imagenet", "image-folder:x"])
def test_what_cannot_be_downloaded_is_said_to_be_missing(name, tmp_path):
    with pytest.raises(BadInput, match="expected are"):
        catalog.download(name, tmp_path)


def test_no_global_random_state_is_touched(tmp_path, monkeypatch):
    for make in SETS.values():
        make(tmp_path, monkeypatch)
    tiny_imagenet(tmp_path)
    data.load("digits", tmp_path, 0.1, 1)  # importing scikit-learn draws from Python's own generator
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    for name in (*SETS, "digits", "tiny-imagenet"):
        data.load(name, tmp_path, 0.2, 0, random_labels=True)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]


def test_room_is_half_of_what_is_free():
    free = int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0]) * 1024
    assert reading.room(torch.device("cpu")) <= free * 0.6
    assert reading.room(torch.device("cpu")) > 1 << 20
