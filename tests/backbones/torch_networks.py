"""The backbones in PyTorch, with the parameter names of arcface_torch: the oracle of parity and of speed."""

import torch
from torch import nn


def _conv(inputs, outputs, kernel=3, stride=1, groups=1, bias=False, padding=None):
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)


class _Residual(nn.Module):
    """Improved residual unit, BN-Conv-BN-PReLU-Conv-BN."""

    def __init__(self, inputs, outputs, stride, squeeze_excite):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = _conv(inputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = _conv(outputs, outputs, stride=stride)
        self.bn3 = nn.BatchNorm2d(outputs)
        if squeeze_excite:
            squeezed = outputs // 16
            self.se = nn.ModuleDict(
                {"fc1": nn.Linear(outputs, squeezed), "prelu": nn.PReLU(squeezed), "fc2": nn.Linear(squeezed, outputs)}
            )
        if stride > 1:
            self.downsample = nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        branch = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        if hasattr(self, "se"):
            gate = self.se["fc2"](self.se["prelu"](self.se["fc1"](branch.mean((2, 3)))))
            branch = branch * torch.sigmoid(gate)[:, :, None, None]
        return branch + (self.downsample(x) if hasattr(self, "downsample") else x)


class IResNet(nn.Module):
    def __init__(self, units, embedding_dim, final_pixels, squeeze_excite=False):
        super().__init__()
        self.conv1, self.bn1, self.prelu = _conv(3, 64), nn.BatchNorm2d(64), nn.PReLU(64)
        inputs = 64
        for stage, (outputs, count) in enumerate(zip((64, 128, 256, 512), units, strict=True), 1):
            blocks = [_Residual(inputs, outputs, 2, squeeze_excite)]
            blocks += [_Residual(outputs, outputs, 1, squeeze_excite) for _ in range(count - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            inputs = outputs
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * final_pixels, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim)
        self.features.weight.requires_grad = False

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        return self.features(self.fc(x.flatten(1)))


class _ConvBlock(nn.Module):
    def __init__(self, inputs, outputs, kernel=1, stride=1, groups=1, padding=None, activate=True):
        super().__init__()
        parts = [_conv(inputs, outputs, kernel, stride, groups, padding=padding), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*parts, *([nn.PReLU(outputs)] if activate else []))

    def forward(self, x):
        return self.layers(x)


class _Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, hidden, stride):
        super().__init__()
        self.residual = stride == 1
        self.layers = nn.Sequential(
            _ConvBlock(inputs, hidden),
            _ConvBlock(hidden, hidden, 3, stride, groups=hidden),
            _ConvBlock(hidden, outputs, activate=False),
        )

    def forward(self, x):
        return self.layers(x) + x if self.residual else self.layers(x)


class _Group(nn.Module):
    def __init__(self, channels, hidden, count):
        super().__init__()
        self.layers = nn.Sequential(*(_Bottleneck(channels, channels, hidden, 1) for _ in range(count)))

    def forward(self, x):
        return self.layers(x)


class MobileFaceNet(nn.Module):
    def __init__(self, embedding_dim, final_pixels, scale=1):
        super().__init__()
        narrow, wide = 64 * scale, 128 * scale
        self.layers = nn.ModuleList(
            [
                _ConvBlock(3, narrow, 3, 2),
                _ConvBlock(narrow, narrow, 3, groups=64),
                _Bottleneck(narrow, narrow, 128, 2),
                _Group(narrow, 128, 4),
                _Bottleneck(narrow, wide, 256, 2),
                _Group(wide, 256, 6),
                _Bottleneck(wide, wide, 512, 2),
                _Group(wide, 256, 2),
            ]
        )
        self.conv_sep = _ConvBlock(wide, 512)
        side = round(final_pixels**0.5)
        self.features = nn.Module()
        self.features.layers = nn.Sequential(
            _ConvBlock(512, 512, side, groups=512, padding=0, activate=False),
            nn.Flatten(),
            nn.Linear(512, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim),
        )

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.features.layers(self.conv_sep(x))


class _SphereUnit(nn.Module):
    def __init__(self, channels, batch_norm):
        super().__init__()
        for i in (1, 2):
            self.add_module(f"conv{i}", _conv(channels, channels, bias=not batch_norm))
            self.add_module(f"bn{i}", nn.BatchNorm2d(channels) if batch_norm else nn.Identity())
            self.add_module(f"prelu{i}", nn.PReLU(channels))

    def forward(self, x):
        branch = self.prelu1(self.bn1(self.conv1(x)))
        return x + self.prelu2(self.bn2(self.conv2(branch)))


class SFNet(nn.Module):
    def __init__(self, units, embedding_dim, final_pixels, batch_norm=False):
        super().__init__()
        inputs = 3
        for stage, (outputs, count) in enumerate(zip((64, 128, 256, 512), units, strict=True), 1):
            first = nn.Sequential()
            first.add_module("conv1", _conv(inputs, outputs, stride=2, bias=not batch_norm))
            if batch_norm:
                first.add_module("bn1", nn.BatchNorm2d(outputs))
            first.add_module("prelu1", nn.PReLU(outputs))
            blocks = [_SphereUnit(outputs, batch_norm) for _ in range(count)]
            self.add_module(f"layer{stage}", nn.Sequential(first, *blocks))
            inputs = outputs
        self.fc = nn.Linear(512 * final_pixels, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim) if batch_norm else nn.Identity()

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(x.flatten(1)))


class _Block(nn.Module):
    """Transformer block with normalisation first."""

    def __init__(self, width, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width, bias=False), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x):
        query, key, value = self.attn["qkv"](self.norm1(x)).chunk(3, dim=-1)
        heads = []
        for q, k, v in zip(*(part.chunk(self.num_heads, dim=-1) for part in (query, key, value)), strict=True):
            heads.append(torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, dim=-1) @ v)
        x = x + self.attn["proj"](torch.cat(heads, dim=-1))
        return x + self.mlp["fc2"](self.mlp["fc1"](self.norm2(x)).clamp(0, 6))


class ViT(nn.Module):
    def __init__(self, width, depth, embedding_dim, tokens, num_heads=8, patch_size=9):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.randn(1, tokens, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch_size, patch_size)})
        self.blocks = nn.Sequential(*(_Block(width, num_heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.feature = nn.Sequential(
            nn.Linear(width * tokens, width, bias=False),
            nn.BatchNorm1d(width, eps=2e-5),
            nn.Linear(width, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim, eps=2e-5),
        )

    def forward(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(-2, -1) + self.pos_embed
        return self.feature(self.norm(self.blocks(x)).flatten(1))


class ResNet50(nn.Module):
    """He et al.'s ResNet-50 with Keras' names of its weights: the first convolution of a stage has the stride."""

    def __init__(self, embedding_dim):
        super().__init__()
        self.units = [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]
        self._add("conv1", 3, 64, 7, 2)
        inputs = 64
        for stage, (width, count, stride) in enumerate(self.units, 2):
            for block in range(1, count + 1):
                name = f"conv{stage}_block{block}"
                if block == 1:
                    self._add(f"{name}_0", inputs, 4 * width, 1, stride)
                self._add(f"{name}_1", inputs, width, 1, stride if block == 1 else 1)
                self._add(f"{name}_2", width, width, 3)
                self._add(f"{name}_3", width, 4 * width, 1)
                inputs = 4 * width
        self.embedding = nn.Linear(inputs, embedding_dim)

    def _add(self, name, inputs, outputs, kernel, stride=1):
        self.add_module(f"{name}_conv", _conv(inputs, outputs, kernel, stride, bias=True))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(outputs, eps=1.001e-5))

    def _apply_pair(self, name, x):
        return self.get_submodule(f"{name}_bn")(self.get_submodule(f"{name}_conv")(x))

    def forward(self, x):
        mean = torch.tensor([103.939, 116.779, 123.68])[:, None, None]  # Blue, green, red.
        x = (x + 1)[:, [2, 1, 0]] * 127.5 - mean
        x = nn.functional.max_pool2d(self._apply_pair("conv1", x).relu(), 3, 2, padding=1)
        for stage, (_, count, _) in enumerate(self.units, 2):
            for block in range(1, count + 1):
                name = f"conv{stage}_block{block}"
                branch = self._apply_pair(f"{name}_1", x).relu()
                branch = self._apply_pair(f"{name}_3", self._apply_pair(f"{name}_2", branch).relu())
                x = (branch + (self._apply_pair(f"{name}_0", x) if block == 1 else x)).relu()
        return self.embedding(x.mean((2, 3)))
