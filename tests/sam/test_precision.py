"""Products of bfloat16 on a CPU that cannot multiply it."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.cost.memory import StorageMeter
from bench.sam import precision
from bench.sam.precision import computes_bf16, emulate_bf16, multiplies_bf16

Product = Callable[..., Tensor]
Shape = tuple[int, ...]


def masked_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    mask = torch.linspace(-2, 2, 2500).view(50, 50).bfloat16().to(queries.dtype)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


PRODUCTS: dict[str, tuple[Product, tuple[Shape, ...]]] = {
    "two matrices": (torch.mm, ((33, 40), (40, 21))),
    "batches of matrices": (torch.bmm, ((3, 33, 40), (3, 40, 21))),
    "a matrix and a vector": (torch.matmul, ((5, 8), (8,))),
    "a linear layer": (F.linear, ((2, 7, 40), (30, 40), (30,))),
    "a sum and products": (torch.baddbmm, ((3, 33, 21), (3, 33, 40), (3, 40, 21))),
    "a convolution": (F.conv2d, ((2, 5, 16, 16), (7, 5, 3, 3), (7,))),
    "a convolution without bias": (F.conv2d, ((2, 5, 16, 16), (7, 5, 3, 3))),
    "a transposed convolution": (F.conv_transpose2d, ((2, 5, 8, 8), (5, 7, 2, 2), (7,))),
    "attention": (F.scaled_dot_product_attention, ((2, 3, 50, 16),) * 3),
    "attention with a mask": (masked_attention, ((2, 3, 50, 16),) * 3),
}


@pytest.fixture
def _emulated() -> Iterator[None]:
    library = precision._replace_kernels.__wrapped__()
    yield
    library._destroy()


def derivatives(product: Product, inputs: list[Tensor]) -> list[Tensor]:
    """The product of inputs, and the gradients of the sum of its squares."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    result = product(*leaves)
    result.float().square().sum().backward()
    return [result.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.usefixtures("_emulated")
def test_products_are_those_of_fp32_rounded_to_bf16(name: str) -> None:
    product, shapes = PRODUCTS[name]
    random = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=random).bfloat16() for shape in shapes]
    expected = derivatives(product, [each.float() for each in inputs])
    found = derivatives(product, inputs)
    assert [each.dtype for each in found] == [torch.bfloat16] * (1 + len(shapes))
    assert torch.equal(found[0], expected[0].bfloat16())
    for one, other in zip(found[1:], expected[1:], strict=True):
        # The gradient that arrives is rounded too, by up to 2^-9 of it.
        assert torch.allclose(one.float(), other, rtol=0.01, atol=0.01 * float(other.abs().max()))


@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.usefixtures("_emulated")
def test_many_matrices_are_multiplied_some_at_a_time(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_CACHED", 2 * 33 * 40)  # two matrices: 5 leave one over
    random = torch.Generator().manual_seed(0)
    left = torch.randn(batch, 33, 40, generator=random).bfloat16()
    right = torch.randn(batch, 21, 40, generator=random).bfloat16().mT
    expected = torch.einsum("bij,bjk->bik", left.float(), right.float()).bfloat16()
    assert torch.equal(left @ right, expected)


@pytest.mark.usefixtures("_emulated")
def test_float32_and_measured_memory_stay_as_they_are() -> None:
    first, second = torch.rand(64, 64), torch.rand(64, 64)
    assert torch.equal(first @ second, torch.einsum("ij,jk->ik", first, second))
    halves = first.bfloat16(), second.bfloat16()
    with StorageMeter(torch.device("cpu")) as meter:
        kept = halves[0] @ halves[1]
    assert sum(meter.split().values()) == 3 * kept.nbytes  # the peak, without copies in float32


@pytest.mark.parametrize(
    ("name", "replaced"), [("AVX2", True), ("DEFAULT", True), ("AVX512", False), ("AMX", False)]
)
def test_kernels_are_replaced_where_the_cpu_lacks_the_instructions(
    name: str, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: name)
    monkeypatch.setattr(precision, "_replace_kernels", lambda: calls.append(True))
    emulate_bf16()
    assert (multiplies_bf16(), bool(calls)) == (not replaced, replaced)
    assert computes_bf16("cpu")
