"""PyTorch's side of the fine-tuning tests: networks of the residual, Inception and Inception-ResNet kind, their
export, and training steps. For scripts run by hand; needs python3-torch, python3-torchvision, python3-onnx.
"""
import copy

import torch
import torchvision
from torch import nn
from torchvision.models.googlenet import BasicConv2d, Inception
from torchvision.models.resnet import BasicBlock

import train_runs

CLASSES = 10


def conv(i, o, kernel, stride=1):
    pad = tuple(k // 2 for k in kernel) if isinstance(kernel, tuple) else kernel // 2
    return BasicConv2d(i, o, kernel_size=kernel, stride=stride, padding=pad)


class SmallResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3 = self.block(8, 8, 1), self.block(8, 16, 2), self.block(16, 32, 2)
        self.fc = nn.Linear(32, CLASSES)

    @staticmethod
    def block(i, o, stride):
        down = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o)) if stride > 1 else None
        return BasicBlock(i, o, stride, down)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class SmallGoogLeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = conv(3, 8, 7, 2)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3 = Inception(8, 6, 4, 8, 3, 5, 5)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.inception4 = Inception(24, 8, 6, 12, 4, 6, 6)
        self.fc = nn.Linear(32, CLASSES)

    def forward(self, x):
        x = self.inception3(self.pool1(self.conv1(x)))
        x = self.inception4(self.pool3(x))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


class ResidualA(nn.Module):
    """Branches of 1x1, 3x3 and twice 3x3, concatenated, scaled and added (arXiv:1602.07261, figure 16)."""

    def __init__(self, c, w):
        super().__init__()
        self.a = conv(c, w, 1)
        self.b = nn.Sequential(conv(c, w, 1), conv(w, w, 3))
        self.c = nn.Sequential(conv(c, w, 1), conv(w, w, 3), conv(w, w, 3))
        self.up = nn.Conv2d(3 * w, c, 1)

    def forward(self, x):
        return torch.relu(x + 0.17 * self.up(torch.cat([self.a(x), self.b(x), self.c(x)], 1)))


class ResidualB(nn.Module):
    """Branches of 1x1 and 1x7 then 7x1 (figure 17)."""

    def __init__(self, c, w):
        super().__init__()
        self.a = conv(c, w, 1)
        self.b = nn.Sequential(conv(c, w, 1), conv(w, w, (1, 7)), conv(w, w, (7, 1)))
        self.up = nn.Conv2d(2 * w, c, 1)

    def forward(self, x):
        return torch.relu(x + 0.1 * self.up(torch.cat([self.a(x), self.b(x)], 1)))


class Reduction(nn.Module):
    """Max pool and two strided convolutions side by side (figure 18): c channels become c + 2 w."""

    def __init__(self, c, w):
        super().__init__()
        self.a = BasicConv2d(c, w, kernel_size=3, stride=2)
        self.b = nn.Sequential(conv(c, w, 1), conv(w, w, 3), BasicConv2d(w, w, kernel_size=3, stride=2))

    def forward(self, x):
        return torch.cat([nn.functional.max_pool2d(x, 3, 2), self.a(x), self.b(x)], 1)


class InceptionResNet(nn.Module):
    """One block of every kind, of width w."""

    def __init__(self, w):
        super().__init__()
        self.stem = nn.Sequential(conv(3, w, 3, 2), conv(w, 2 * w, 3))
        self.block_a, self.reduction = ResidualA(2 * w, w), Reduction(2 * w, w)
        self.block_b = ResidualB(4 * w, w)
        self.fc = nn.Linear(4 * w, CLASSES)

    def forward(self, x):
        x = self.block_b(self.reduction(self.block_a(self.stem(x))))
        return self.fc(x.mean((2, 3)))


# name: constructor, size of images, batch, which part trains in the partial runs
SMALL_RATE = (0.01, 0.02)  # rate, and train_runs.Run.near
SMALL = {
    "resnet": (SmallResNet, 24, 6, "layer3"),
    "googlenet": (SmallGoogLeNet, 32, 6, "inception4"),
    "inception_resnet": (lambda: InceptionResNet(8), 24, 6, "block_b"),
}
# Deep networks on few images are ill-conditioned: a ReLU whose input is rounding decides what trains. At a rate of 0.01
# PyTorch's losses in single and in double precision have nothing in common after five steps of resnet18, at 0.0001
# they differ by 0.0009, and single parameters of small layers by a tenth of how far they go; googlenet's at 0.000005
# by 0.003. Hence low rates. (googlenet's images are 128x128: at 64x64 a channel's statistics at the end are those of
# 32 pixels, and PyTorch's running variances in single precision are off by 0.0013.)
LARGE_RATE = {"resnet18": (5e-5, 0.25), "googlenet": (1e-6, 0.25), "inception_resnet": (1e-3, 0.25)}
LARGE = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=CLASSES), 64, 8, "layer4"),
    "googlenet": (lambda: torchvision.models.googlenet(num_classes=CLASSES, aux_logits=False, init_weights=False), 128,
                  8, "inception5b"),
    "inception_resnet": (lambda: InceptionResNet(32), 64, 8, "block_b"),
}


def make(constructor, size, batch):
    """A network as if trained: its normalizations know the images. Returns it in evaluation mode, x and y."""
    torch.manual_seed(0)
    net = constructor().train()
    x, y = torch.randn(batch, 3, size, size), torch.randint(0, CLASSES, (batch,))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in net.modules():
        if isinstance(m, nn.Dropout):
            m.p = 0.0
    for m in norms:
        m.weight.data.uniform_(0.5, 1.2)
        m.bias.data.normal_(0, 0.1)
        m.momentum = None  # the mean of all that is seen
    with torch.no_grad():
        for _ in range(3):
            net(x + 0.3 * torch.randn_like(x))
    for m in norms:
        m.momentum = 0.1
    return net.eval(), x, y


def export(net, x, path):
    """As ../shared/models/make_models.py --keep-bn does."""
    torch.onnx.export(net.eval(), x, path, opset_version=16, input_names=["input"], output_names=["output"],
                      dynamic_axes={"input": {0: "N"}, "output": {0: "N"}},
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)


def parameters(net):
    return {k: v.detach().float().numpy().copy() for k, v in net.state_dict().items() if "num_batches" not in k}


def train(net, run, x, y, dtype=torch.float32):
    """Steps of SGD on the whole of x, as train_runs.train makes them. Returns losses and parameters."""
    net = copy.deepcopy(net).to(dtype).eval()
    x = x.to(dtype)
    for name, p in net.named_parameters():
        p.requires_grad = name.startswith(run.trains)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.train(run.bn == "train" and m.weight.requires_grad)
    trained = [p for p in net.parameters() if p.requires_grad]
    opt = torch.optim.SGD([{"params": [p for p in trained if p.dim() > 1], "weight_decay": train_runs.DECAY},
                           {"params": [p for p in trained if p.dim() == 1], "weight_decay": 0}],
                          lr=run.lr, momentum=train_runs.MOMENTUM)
    losses = []
    for _ in range(train_runs.STEPS):
        loss = nn.functional.cross_entropy(net(x), y)
        losses.append(loss.item())
        opt.zero_grad()
        loss.backward()
        opt.step()
    return losses, parameters(net)


def train_recipe(net, bn, x, y, dtype=torch.float32):
    """As train_runs.train_recipe() does, by what PyTorch has for each of it."""
    recipe = train_runs.RECIPE
    net = copy.deepcopy(net).to(dtype).eval()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.train(bn == "train")
    weights, others = ([p for p in net.parameters() if (p.dim() > 1) == big] for big in (True, False))
    opt = torch.optim.AdamW([{"params": weights, "weight_decay": recipe["decay"]}, {"params": others, "weight_decay": 0}], lr=recipe["lr"])
    warmup = recipe["warmup"]
    rate = torch.optim.lr_scheduler.SequentialLR(opt, [
        torch.optim.lr_scheduler.LinearLR(opt, start_factor=1 / warmup, total_iters=warmup - 1),
        torch.optim.lr_scheduler.CosineAnnealingLR(opt, train_runs.STEPS - warmup)], milestones=[warmup])
    loss_of, x, told = nn.CrossEntropyLoss(label_smoothing=recipe["smoothing"]), x.to(dtype), []
    for _ in range(train_runs.STEPS):
        loss = loss_of(net(x), y)
        opt.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), recipe["clip"])
        told.append((loss.item(), norm.item(), rate.get_last_lr()[0]))
        opt.step()
        rate.step()
    return list(zip(*told)), parameters(net)
