"""A device that is not there: tensors that say "cuda" and mix with those of the host no more than
a GPU's do, computed on the host. Holds code to account for where its tensors lie, not for speed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

__all__ = ["FAR", "Far", "FarDevice", "move"]

FAR = torch.device("cuda", 0)
_MOVES = (Tensor.to, Tensor.cpu, Tensor.cuda)
_INDEXED = (Tensor.__getitem__, Tensor.__setitem__)
_DEVICE = Tensor.device.__get__  # type: ignore[attr-defined]


class Far(Tensor):
    """A tensor on the far device."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def _far(x: Any) -> Any:
    return x.as_subclass(Far) if isinstance(x, Tensor) else x


def _near(x: Any) -> Any:
    return x.as_subclass(Tensor) if isinstance(x, Far) else x


def _is_far(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class FarDevice(TorchFunctionMode):
    """While it is on, `Far` tensors behave as a GPU's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        far = [x for x in tensors if isinstance(x, Far)]
        if func == _DEVICE:
            return FAR if far else func(*args)
        if func in _MOVES:
            return self._moved(func, args, kwargs)
        if func is torch._has_compatible_shallow_copy_type:
            return not far  # a module that moves gets new parameters
        if func is Tensor.numpy and far:
            raise TypeError("can't convert a far tensor to numpy: use Tensor.cpu() first")
        home = kwargs.get("device")
        if _is_far(home):
            kwargs["device"] = "cpu"
        # An index may lie on the host, and so may a number.
        near = [x for x in tensors if not isinstance(x, Far) and x.ndim]
        if far and near and not (func in _INDEXED and isinstance(args[0], Far)):
            raise RuntimeError(f"{func.__name__}: tensors on cuda and cpu")
        if func is Tensor.__setitem__ and far and isinstance(args[2], Tensor):
            assert not args[2].ndim or isinstance(args[2], Far), "a host tensor put into a far one"
        with torch._C.DisableTorchFunctionSubclass():
            out = func(*tree_map(_near, args), **tree_map(_near, kwargs))
        return tree_map(_far, out) if far or _is_far(home) else out

    def _moved(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        x, rest = args[0], list(args[1:])
        goes = isinstance(x, Far)
        for i, given in enumerate(rest):
            if isinstance(given, torch.device | str):
                goes, rest[i] = _is_far(given), "cpu"
            elif isinstance(given, Tensor):
                goes, rest[i] = isinstance(given, Far), _near(given)
        if "device" in kwargs:
            goes, kwargs["device"] = _is_far(kwargs["device"]), "cpu"
        if func is not Tensor.to:
            goes, func, rest, kwargs = func is Tensor.cuda, Tensor.to, ["cpu"], {}
        with torch._C.DisableTorchFunctionSubclass():
            out = func(_near(x), *rest, **kwargs)
        return _far(out) if goes else out.clone() if isinstance(x, Far) else out


def move(model: nn.Module) -> nn.Module:
    """The parameters and buffers of ``model`` are far from now on."""
    for module in model.modules():
        for name, held in module._parameters.items():
            if held is not None:
                module._parameters[name] = nn.Parameter(held.detach().as_subclass(Far), False)
        for name, held in module._buffers.items():
            module._buffers[name] = _far(held)
    return model
