"""Steps of heads in PyTorch, for comparison: loss, gradients, momentum update."""

import math
from collections.abc import Callable

import torch


def metric_learning_step(x: torch.Tensor, labels: torch.Tensor, classes: int) -> Callable[[], None]:
    """ArcFace of pytorch-metric-learning, with SGD of PyTorch."""
    from pytorch_metric_learning.losses import ArcFaceLoss

    head = ArcFaceLoss(classes, x.shape[1], margin=28.6, scale=64)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        head(x, labels).backward()
        optimizer.step()

    return step


def partial_fc_step(
    x: torch.Tensor, labels: torch.Tensor, classes: int, sampling_rate: float = 1.0
) -> Callable[[], None]:
    """ArcFace on a sample of the classes, as arcface_torch's Partial FC trains it.

    A step takes the classes of the batch and random others, copies their weights and momentum, trains these, and copies
    them back. Written after the paper's description, not taken from arcface_torch.

    Reference:
      An et al., "Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial
      FC", 2022.
    """
    weights, momentum = torch.ones(classes, x.shape[1]), torch.zeros(classes, x.shape[1])
    count, margin, scale = int(sampling_rate * classes), 0.5, 64.0

    def step():
        if sampling_rate < 1:
            chances = torch.rand(classes)
            chances[labels] = 2.0
            rows = torch.topk(chances, count).indices.sort().values
            places = torch.searchsorted(rows, labels)
            own, own_momentum = weights[rows], momentum[rows]
        else:
            rows, places, own, own_momentum = None, labels, weights, momentum
        own.requires_grad_()
        optimizer = torch.optim.SGD([own], lr=0.1, momentum=0.9)
        optimizer.state[own]["momentum_buffer"] = own_momentum
        normalize = torch.nn.functional.normalize
        cosines = torch.nn.functional.linear(normalize(x), normalize(own)).clamp(-1, 1)
        target = cosines[torch.arange(len(places)), places]
        sine = (1 - target.square()).clamp(min=0).sqrt()
        with_margin = target * math.cos(margin) - sine * math.sin(margin)
        logits = scale * cosines.scatter(1, places[:, None], with_margin[:, None])
        x.grad = None
        torch.nn.functional.cross_entropy(logits, places).backward()
        optimizer.step()
        with torch.no_grad():
            own.requires_grad_(False)
            own.grad = None
            if rows is not None:
                weights[rows], momentum[rows] = own, own_momentum

    return step
