#!/usr/bin/python3
"""Trains the network that fine-tuning starts from and writes clothes5.onnx beside this file.

A residual network of 253,581 parameters with BatchNormalization, on five classes of Fashion-MNIST. It also learns which
way up an image is (Gidaris et al. 2018): with five classes alone its features would know little else, and transfer
worse. The logits of upright images are what is kept.
The other five (pick_classes.py) are what tests/e2e/test_transfer.py and tools/quickstart teach it.
Needs Debian's python3-torch, python3-onnx, python3-pil, dataset-fashion-mnist; takes some minutes on
two cores and reaches 94 % on the test images of its classes. The repository ships the result.
"""
import os

import numpy as np
import onnx
import torch
from torch import nn

from make_sample import HERE, LABELS, MEAN, STD, Block, load

CLASSES = [0, 3, 4, 5, 9]  # T-shirt, dress, coat, sandal, ankle boot
WIDTHS = (24, 24, 48, 128)
TURNS = 4  # quarter turns, each a class of its own while training


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        a, b, c, d = WIDTHS
        self.conv1 = nn.Conv2d(1, a, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(a)
        self.layer1, self.layer2, self.layer3 = Block(a, b, 1), Block(b, c, 2), Block(c, d, 2)
        self.fc = nn.Linear(d, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def tensors(kind):
    """The images of CLASSES as the network takes them, and their numbers among CLASSES."""
    images, labels = load(kind)
    keep = np.isin(labels, CLASSES)
    x = (torch.tensor(images[keep]).float() / 255 - MEAN) / STD
    return x.unsqueeze(1), torch.tensor(np.searchsorted(CLASSES, labels[keep])).long()


def shift(x):
    """The batch moved by up to two pixels, every other time mirrored."""
    dy, dx, mirror = torch.randint(-2, 3, ()).item(), torch.randint(-2, 3, ()).item(), torch.rand(()) < 0.5
    x = x.roll((dy, dx), (2, 3))
    return x.flip(3) if mirror else x


def train(net, epochs, batch=64):
    x, y = tensors("train")
    steps = len(x) // batch * epochs
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 0.2, total_steps=steps)
    x_test, y_test = tensors("t10k")
    for epoch in range(epochs):
        net.train()
        for pick in torch.randperm(len(x)).split(batch)[:len(x) // batch]:
            turn = torch.randint(TURNS, ()).item()
            images, labels = shift(x[pick]).rot90(turn, (2, 3)), y[pick] * TURNS + turn
            loss = nn.functional.cross_entropy(net(images), labels)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
        net.eval()
        with torch.no_grad():
            right = sum((net(a)[:, ::TURNS].argmax(1) == b).sum().item()
                        for a, b in zip(x_test.split(500), y_test.split(500)))
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, test accuracy {right / len(x_test):.4f}",
              flush=True)


def keep_upright(net):
    fc = nn.Linear(WIDTHS[-1], len(CLASSES))
    fc.weight.data, fc.bias.data = net.fc.weight.data[::TURNS].clone(), net.fc.bias.data[::TURNS].clone()
    net.fc = fc


def export(net, path):
    """With BatchNormalization as nodes, so that a fine-tune program can choose what to do with it."""
    torch.onnx.export(net.eval(), torch.zeros(1, 1, 28, 28), path, opset_version=16,
                      input_names=["image"], output_names=["logits"],
                      dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    model = onnx.load(path)
    props = {"hone.mean": str(MEAN), "hone.std": str(STD), "hone.resize": "28",
             "hone.labels": "\n".join(LABELS[k] for k in CLASSES)}
    for key, value in props.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)


if __name__ == "__main__":
    torch.manual_seed(0)
    net = Net(len(CLASSES) * TURNS)
    train(net, epochs=4)
    keep_upright(net)
    export(net, os.path.join(HERE, "clothes5.onnx"))
