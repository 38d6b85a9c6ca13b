import torch


def cutout(images, generator, *, side: int = 3):
    """A black square at a random place in each image (DeVries & Taylor 2017)."""
    count, _, height, width = images.shape
    top = torch.randint(height - side + 1, (count, 1, 1, 1), generator=generator).to(images.device)
    left = torch.randint(width - side + 1, (count, 1, 1, 1), generator=generator).to(images.device)
    rows = torch.arange(height, device=images.device).view(-1, 1)
    columns = torch.arange(width, device=images.device)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return images.masked_fill(inside, 0)
