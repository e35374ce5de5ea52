"""Where a network's rounding errors come from: its layers in double precision but one, which is in single, each in turn. By hand.

  rounding.py NAME [GAIN]    a network as networks.py makes it, with the gains of its normalizations times GAIN (default: as that file says)

Prints, for each convolution and product in the order that they run, the error (root mean square, of the values') at its own output and what comes
of it at the network's, then all of them together, the whole network in single precision, and what rounding the image alone does.
Runs in the virtual environment that coverage.py makes.
"""
import copy
import sys

import torch

import networks

LAYERS = (torch.nn.Conv2d, torch.nn.Linear)


def error(y, right):
    return float((y.double() - right).square().mean().sqrt() / right.square().mean().sqrt())


def in_single(layer):
    """A hook that makes the layer's result in single precision, and keeps how far that is off."""
    single = copy.deepcopy(layer).float()

    def hook(_, inputs, y):
        z = single(inputs[0].float()).double()
        hook.error = error(z, y)
        return z
    return hook


def main(name, gain):
    torch.manual_seed(1)
    kind = name.partition(":")[0]
    if gain:
        networks.GAINS[name] = float(gain)
    module, size = networks.make(name)
    module = networks.Tensors(networks.draw(module, size, name), kind).eval()
    x = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(10))[:1]
    double = copy.deepcopy(module).double()
    with torch.no_grad():
        right, squares = double(x.double()), 0.0
        for path, layer in double.named_modules():
            if isinstance(layer, LAYERS):
                hook = in_single(layer)
                handle = layer.register_forward_hook(hook)
                end = error(double(x.double()), right)
                handle.remove()
                if hasattr(hook, "error"):
                    squares += end ** 2
                    print(f"{path:50} {str(list(layer.weight.shape)):22} own {hook.error:.1e}  at the end {end:.1e}", flush=True)
        nudged = x.double() * (1 + 2 ** -24 * torch.randn(x.shape, generator=torch.Generator().manual_seed(3)))
        print(f"together {squares ** 0.5:.1e}; single precision {error(module(x), right):.1e}; an image nudged by 2^-24 {error(double(nudged), right):.1e}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else None)
