"""What a training step asks of the host, seen from outside of it: looks at the device's values, and
tensors that are made there instead of on the device."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# a GPU's result has to be there before the host can continue
WAITS = {
    aten._local_scalar_dense,
    aten.bincount,
    aten.equal,
    aten.is_nonzero,
    aten.masked_select,
    aten.nonzero,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
READS = {Tensor.tolist, Tensor.numpy, Tensor.cpu}


class Looks(TorchDispatchMode):
    """Names of the operations that would make the host wait for a GPU, as they happen.

    Attributes:
        names: In the order of the calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.reads = _Reads(self.names)

    def __enter__(self) -> Looks:
        self.reads.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.reads.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        masks = packet in INDEXING and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if packet in WAITS or masks:
            self.names.append(str(packet))
        return func(*args, **(kwargs or {}))


class _Reads(TorchFunctionMode):
    """Adds the calls that never reach the dispatcher when the tensor is on the host."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


class FakeGPU(TorchDispatchMode):
    """Runs everything on a GPU that is not there: shapes, types and devices without values.

    Tensors of different devices in one operation are an error, and so is a look at a value, but for
    the answers that are given beforehand.

    Args:
        answers: Numbers that the host may look at, in this order.

    Attributes:
        made_on_host: Operations that gave a tensor of the host, and where they stand.
    """

    def __init__(self, answers: Sequence[int] = ()) -> None:
        super().__init__()
        self.fake = FakeTensorMode()
        self.answers = list(answers)
        self.made_on_host: list[str] = []

    def tensor(self, tensor: Tensor) -> Tensor:
        """A stand-in on the GPU for a tensor."""
        return FakeTensor(
            self.fake, torch.empty_like(tensor, device="meta"), torch.device("cuda", 0)
        )

    def move(self, model: nn.Module) -> nn.Module:
        """Replaces a model's parameters and buffers, which get no gradients."""
        for module in model.modules():
            for name, value in module._parameters.items():
                if value is not None:
                    fake = self.tensor(value.detach())
                    module._parameters[name] = nn.Parameter(fake, requires_grad=False)
            for name, value in module._buffers.items():
                if value is not None:
                    module._buffers[name] = self.tensor(value)
        return model

    def __enter__(self) -> FakeGPU:
        self.fake.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.fake.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket == aten._local_scalar_dense and self.answers:
            return self.answers.pop(0)
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.device.type == "cpu":
                self.made_on_host.append(f"{func} in {_caller()}")
        return result


def _caller() -> str:
    """Innermost line outside of torch and of this file."""
    for frame in reversed(traceback.extract_stack()):
        if "/torch/" not in frame.filename and frame.filename != __file__:
            return f"{frame.filename}:{frame.lineno}"
    return "?"
