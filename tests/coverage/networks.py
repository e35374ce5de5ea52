"""Networks of timm and torchvision as ONNX files with random weights, and what is right about them: for tests/coverage.

  networks.py NAME FOLDER     timm:NAME, tv:NAME (a classifier of torchvision), tvseg:NAME, tvdet:NAME; NAME@4: of four classes

writes to FOLDER dynamo.onnx and legacy.onnx as far as PyTorch's two exporters can, x1.npy and x3.npy (one image and three), double_x1.npz and
double_x3.npz (PyTorch's outputs for them in double precision, where the network computes in it) and truth.json. Weights are random,
but no value is trivial: norms, biases, layer scales and running statistics are drawn, so that nothing cancels, explodes or vanishes.
Runs in the virtual environment that coverage.py makes.
"""
import copy
import json
import os
import sys
import warnings

import numpy as np
import torch

from signature import signature

SIZE = 128  # of networks that take images of any size
# Larger ones below what the network was made for, where its stages shrink the image too far.
SIZES = {"timm:inception_resnet_v2": 160, "timm:inception_v3": 160, "timm:xception41": 160, "tvseg:": 160, "tvdet:": 320}
# What the gains of normalizations are multiplied by, where random ones make every layer's output larger than the one before: rounding errors,
# and units on the edge of what they clip, would drown the gradient in any single precision.
GAINS = {"timm:efficientnet_lite0": 0.7, "tvseg:fcn_resnet50": 0.7, "timm:levit_128s": 0.7, "timm:mobilenetv3_large_100": 0.7, "timm:regnety_008": 0.7}
SCORES = ("classification_head", "box_predictor")  # of a detector: what makes scores, whose first weights give all boxes the same one
SPREAD = 20
NAMELESS = ("bias", "embed", "token", "tokens", "table")  # what begins at zero and is no gain


def make(name):
    """The module, and the size of its images."""
    name, _, classes = name.partition("@")
    kind, _, network = name.partition(":")
    if kind == "timm":
        import timm
        options = {"pretrained": False, **({"num_classes": int(classes)} if classes else {})}
        module = timm.create_model(network, **options)
        config = module.pretrained_cfg
        size = config["input_size"][-1] if config.get("fixed_input_size") else SIZE
        if size > 300:
            size = 224
            module = timm.create_model(network, img_size=size, **options)
        if not module.num_classes:
            module.reset_classifier(1000)
    else:
        import torchvision
        options = {"weights": None, **({"num_classes": int(classes)} if classes else {})}
        if kind != "tv":
            options["weights_backbone"] = None
        if network == "googlenet":
            options.update(aux_logits=False, init_weights=False)
        module = torchvision.models.get_model(network, **options)
        size = getattr(module, "image_size", SIZE)
    sizes = [s for begin, s in SIZES.items() if name == begin or (begin.endswith(":") and name.startswith(begin))]
    return module, (sizes or [size])[0]


def draw(module, size, name):
    """Constants and whole numbers among the parameters become drawn numbers, running statistics those of random images."""
    g = torch.Generator().manual_seed(7)
    kind, gain = name.partition(":")[0], GAINS.get(name.partition("@")[0])
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.numel() > 1 and p.std() > 0 and p.abs().max() >= 1e-4:
                if torch.equal(p, p.round()):  # written by hand, and equal in all blocks
                    p.add_(torch.randn(p.shape, generator=g) * 0.05)
                continue
            value = float(p.flatten()[0])
            if abs(value) < 1e-3 and name.endswith(NAMELESS):
                p.copy_(torch.randn(p.shape, generator=g) * 0.05)
            elif abs(value) < 0.2:  # layer scale, gains, normalizations that begin at zero
                p.copy_(torch.rand(p.shape, generator=g) * 0.4 + 0.2)
            else:
                p.copy_(value * (torch.rand(p.shape, generator=g) * 0.6 + 0.7))
    with torch.no_grad():
        for n, p in module.named_parameters() if kind == "tvdet" else ():
            if p.dim() > 1 and any(s in n for s in SCORES):
                p.mul_(SPREAD)
    norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if norms:
        module.eval()
        momenta = [m.momentum for m in norms]
        for m in norms:
            m.momentum = 1.0
            m.train()
        with torch.no_grad():
            if kind == "tvdet":
                module(list(torch.rand(4, 3, size, size, generator=g)))
            else:
                module(torch.randn(4, 3, size, size, generator=g))
        for m, momentum in zip(norms, momenta):
            m.momentum = momentum
            m.running_var.mul_(torch.rand(m.running_var.shape, generator=g) * 0.4 + 0.8).clamp_(min=1e-3)
    with torch.no_grad():
        for m in norms if gain else ():
            m.weight.mul_(gain)
    return module.eval()


class Tensors(torch.nn.Module):
    """The network with tensors in and out: a segmentation network's map, a detector's boxes, scores and labels for one image."""

    def __init__(self, module, kind):
        super().__init__()
        self.module, self.kind = module, kind

    def forward(self, x):
        if self.kind == "tvseg":
            return self.module(x)["out"]
        return tuple(self.module([x])[0].values()) if self.kind == "tvdet" else self.module(x)


def outputs_of(module, x):
    with torch.no_grad():
        y = module(x)
    return [v.numpy() for v in ([y] if isinstance(y, torch.Tensor) else list(y))]


def parameters_of(module, x):
    """Name to count and signature, of parameters that the loss depends on."""
    y = module(x)
    y = y["out"] if isinstance(y, dict) else y
    generator = torch.Generator().manual_seed(3)
    (y * torch.randn(y.shape, generator=generator)).sum().backward()
    found = {n: [p.numel(), list(p.shape), signature(p.detach().numpy())] for n, p in module.named_parameters() if p.grad is not None}
    module.zero_grad(set_to_none=True)
    return found


def export(module, x, path, exporter, outputs):
    """True: for any batch, False: for that of x. Raises what the exporter raises."""
    names = [f"out{i}" for i in range(outputs)]
    for symbolic in ((True, False) if x.dim() == 4 else (False,)):
        try:
            # With gradients on: without them attention takes a fused path that the legacy exporter does not know.
            with torch.set_grad_enabled(x.dim() == 4):
                if exporter == "dynamo":
                    torch.onnx.export(module, (x,), path, dynamo=True, input_names=["input"], external_data=False, verbose=False,
                                      **({"dynamic_shapes": ({0: "batch"},)} if symbolic else {}))
                else:
                    torch.onnx.export(module, (x,), path, dynamo=False, opset_version=18, input_names=["input"], output_names=names,
                                      **({"dynamic_axes": {n: {0: "batch"} for n in ["input"] + names}} if symbolic else {}))
            return symbolic
        except Exception:
            if not symbolic or x.dim() != 4:
                raise
    return False


def main(name, folder):
    warnings.simplefilter("ignore")
    torch.manual_seed(1)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    kind = name.partition(":")[0]
    module, size = make(name)
    module = draw(module, size, name)
    whole = Tensors(module, kind).eval()
    g = torch.Generator().manual_seed(10)
    x3 = torch.rand(3, size, size, generator=g)[None] if kind == "tvdet" else torch.randn(3, 3, size, size, generator=g)
    inputs = {"x1": x3[0]} if kind == "tvdet" else {"x1": x3[:1], "x3": x3}
    truth = {"name": name, "size": size, "count": sum(p.numel() for p in module.parameters()), "exports": {}}
    truth["parameters"] = parameters_of(module, x3[:2]) if kind != "tvdet" else {}
    for key, x in inputs.items():
        np.save(f"{folder}/{key}.npy", x.numpy())
    for m in whole.modules():
        if hasattr(m, "attention_bias_cache"):  # of numbers in single precision
            m.attention_bias_cache = {}
    try:
        double = copy.deepcopy(whole).double()
        for key, x in inputs.items():
            np.savez(f"{folder}/double_{key}.npz", *outputs_of(double, x.double()))
    except RuntimeError:  # it makes float32 numbers of its own
        pass
    outputs = len(outputs_of(whole, inputs["x1"]))
    for exporter in ("dynamo", "legacy"):
        try:
            symbolic = export(whole, x3[0] if kind == "tvdet" else x3[:2], f"{folder}/{exporter}.onnx", exporter, outputs)
            truth["exports"][exporter] = {"symbolic": symbolic}
        except Exception as e:
            lines = (str(e).strip() or type(e).__name__).splitlines()
            truth["exports"][exporter] = {"failed": f"{type(e).__name__}: {lines[0]}"[:200]}
    with open(f"{folder}/truth.json", "w") as f:
        json.dump(truth, f)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
