"""Vision transformers for small images."""

from torch import nn

from sweep.data import Shape

# Side of the square patches that an image is cut into, in pixels.
PATCH = 4


def vit_tiny(shape: Shape, classes: int) -> nn.Module:
    """torchvision's vision transformer at DeiT-Ti's size (Touvron et al. 2021) with patches of 4×4 pixels.

    12 blocks, 3 heads, width 192; 5,362,762 parameters on CIFAR-10. Of them 3,992,448 are prunable. The
    1,327,104 that compute the queries, keys and values of torch's attention are not, being no linear layer.
    """
    from torchvision.models import VisionTransformer

    channels, side, _ = shape
    network: nn.Module = VisionTransformer(
        image_size=side,
        patch_size=PATCH,
        num_layers=12,
        num_heads=3,
        hidden_dim=192,
        mlp_dim=768,
        num_classes=classes,
    )
    network.conv_proj = nn.Conv2d(channels, 192, PATCH, PATCH)
    return network
