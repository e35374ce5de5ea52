#!/usr/bin/python3
"""Trains the sample network and writes sample.onnx and sneaker.png beside this file.

A residual network of 78,000 parameters on Fashion-MNIST (28 x 28 grey images, ten classes of
clothing). Needs Debian's python3-torch, python3-onnx, python3-pil, dataset-fashion-mnist; takes
some minutes on two cores and reaches about 92 % on the test images. The repository ships the result.
"""
import gzip
import os

import numpy as np
import onnx
import torch
from PIL import Image
from torch import nn

DATA = "/usr/share/datasets/fashion-mnist"
HERE = os.path.dirname(os.path.abspath(__file__))
LABELS = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
          "ankle boot"]
MEAN, STD = 0.2860, 0.3530  # of the training images


def load(kind):
    def read(name, offset):
        with gzip.open(f"{DATA}/{kind}-{name}-ubyte.gz", "rb") as handle:
            return np.frombuffer(handle.read(), np.uint8, offset=offset)
    return read("images-idx3", 16).reshape(-1, 28, 28), read("labels-idx1", 8)


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(o)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(o)
        self.down = None
        if stride != 1 or i != o:
            self.down = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.down is None else self.down(x)))


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def main():
    torch.manual_seed(0)
    images, labels = load("train")
    test_images, test_labels = load("t10k")
    x = (torch.tensor(images).float() / 255 - MEAN) / STD
    y = torch.tensor(labels).long()
    net, batch, epochs = Net(10), 128, 5
    steps = len(x) // batch * epochs
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 0.2, total_steps=steps)
    step = 0
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(x))
        for k in range(len(x) // batch):
            pick = order[k * batch:(k + 1) * batch]
            xb = x[pick].unsqueeze(1)
            if k % 2:
                xb = xb.flip(3)
            loss = nn.functional.cross_entropy(net(xb), y[pick])
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            step += 1
        net.eval()
        with torch.no_grad():
            xt = ((torch.tensor(test_images).float() / 255 - MEAN) / STD).unsqueeze(1)
            right = sum((net(xt[i:i + 1000]).argmax(1).numpy() == test_labels[i:i + 1000]).sum()
                        for i in range(0, len(xt), 1000))
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, test accuracy {right / len(xt):.4f}",
              flush=True)
    path = os.path.join(HERE, "sample.onnx")
    torch.onnx.export(net, torch.zeros(1, 1, 28, 28), path, opset_version=16,
                      input_names=["image"], output_names=["logits"],
                      dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    model = onnx.load(path)
    props = {"hone.mean": str(MEAN), "hone.std": str(STD), "hone.resize": "28",
             "hone.labels": "\n".join(LABELS)}
    for key, value in props.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)
    first = int(np.flatnonzero(test_labels == 7)[0])
    Image.fromarray(test_images[first]).resize((224, 224), Image.NEAREST).save(
        os.path.join(HERE, "sneaker.png"))


if __name__ == "__main__":
    main()
