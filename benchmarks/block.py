"""The trained block's parts, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import Row, Settings, Spread, by_turns
from benchmarks.random_models import tiny_clip

SECONDS = 60
KEYWORDS, TOKEN_DIM = 8, 512
VOCABULARY = 8112  # of Flickr8k
TEMPERATURE = 0.07


def rows(settings: Settings) -> Iterator[Row]:
    """Quantiser, integrate-and-fire, text tower and loss."""
    torch.manual_seed(0)
    yield quantizer(settings)
    yield cif(settings)
    yield text_tower(settings)
    for batch in (64,) if settings.quick else (256, 1024):
        yield contrastive(settings, batch)


def forward_backward(function: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], Any]:
    """Calls a function of tensors and returns what it gives, and their gradients."""
    torch.manual_seed(0)
    gradient = torch.randn_like(function(*inputs))
    wanted = [tensor for tensor in inputs if tensor.requires_grad]

    def run() -> tuple[Tensor, ...]:
        output = function(*inputs)
        return output.detach(), *torch.autograd.grad(output, wanted, gradient)

    return run


def compare(
    ours: Callable[[], Any],
    obvious: Callable[[], Any],
    products: Callable[[], Any],
    settings: Settings,
) -> dict[str, Spread]:
    """Times by turns, once both forms have given the same values and gradients."""
    for mine, expected in zip(ours(), obvious(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-4)
    functions = {"ours": ours, "baseline": obvious, "bound": products}
    return by_turns(functions, turns=settings.turns)


def multiply(*pairs: tuple[Tensor, Tensor]) -> Callable[[], None]:
    """Computes products one after the other, into memory that is there already."""
    made = [(left, right, torch.matmul(left, right)) for left, right in pairs]

    def run() -> None:
        for left, right, product in made:
            torch.matmul(left, right, out=product)

    return run


def quantizer(settings: Settings) -> Row:
    """Keyword scores and straight-through choice."""
    from espnet_plugin.speechclip.quantizer import TokenQuantizer

    batch, vocabulary = (2, 500) if settings.quick else (8, VOCABULARY)
    table = torch.randn(vocabulary, TOKEN_DIM)
    keywords = torch.randn(batch, KEYWORDS, TOKEN_DIM, requires_grad=True)
    ours = TokenQuantizer(temperature=0.1).train()

    def obvious(keywords: Tensor) -> Tensor:
        """Each keyword beside each row; the chosen one as a product with a one-hot vector."""
        outputs = []
        for utterance in keywords:
            # (slots, rows, token_dim)
            pairs = (utterance[:, None].expand(-1, vocabulary, -1), table[None].expand(8, -1, -1))
            soft = (F.cosine_similarity(*pairs, dim=-1) / 0.1).softmax(dim=-1)
            hard = F.one_hot(soft.argmax(dim=-1), vocabulary).to(soft)
            outputs.append((hard + soft - soft.detach()) @ table)
        return torch.stack(outputs)

    flat, scores = keywords.detach().flatten(0, 1), torch.randn(batch * KEYWORDS, vocabulary)
    # scores and mixture, and the gradients of both
    products = multiply(*2 * [(flat, table.T), (scores, table)])
    times = compare(
        forward_backward(lambda k: ours(k, table).embeddings, keywords),
        forward_backward(obvious, keywords),
        products,
        settings,
    )
    return Row(
        f"quantiser: {batch} × {KEYWORDS} keywords, {vocabulary:,} tokens of {TOKEN_DIM}",
        **times,
        baseline_is="cosine of expanded pairs, product with the one-hot choice",
        bound_is="the four matrix products",
    )


def cif(settings: Settings) -> Row:
    """Integrate-and-fire alone."""
    from espnet_plugin.speechclip.cif import integrate_and_fire

    batch, frames, dim = (2, 40, 16) if settings.quick else (32, 320, 768)
    features = torch.randn(batch, frames, dim, requires_grad=True)
    alphas = (torch.rand(batch, frames) * 0.1).requires_grad_()

    def obvious(features: Tensor, alphas: Tensor) -> Tensor:
        """Frame by frame: fill the open slot, close it, carry the rest over."""
        utterances = []
        for row, weights in zip(features, alphas, strict=True):
            filled, slot, fired = weights.new_zeros(()), row.new_zeros(dim), []
            for frame, weight in zip(row, weights, strict=True):
                if float((filled + weight).detach()) < 1:
                    filled, slot = filled + weight, slot + weight * frame
                    continue
                needed = 1 - filled
                fired.append(slot + needed * frame)
                filled = weight - needed
                slot = filled * frame
            utterances.append(torch.stack(fired or [slot]))
        return torch.nn.utils.rnn.pad_sequence(utterances, batch_first=True)

    slots = integrate_and_fire(features, alphas).embeddings.size(1)
    weights, gradient = torch.rand(batch, slots, frames), torch.randn(batch, slots, dim)
    frozen = features.detach()

    # slots, and the gradients of weights and frames
    products = multiply((weights, frozen), (gradient, frozen.mT), (weights.mT, gradient))
    times = compare(
        forward_backward(lambda f, a: integrate_and_fire(f, a).embeddings, features, alphas),
        forward_backward(obvious, features, alphas),
        products,
        settings,
    )
    return Row(
        f"integrate-and-fire: {batch} × {frames} frames of {dim}, {slots} slots",
        **times,
        baseline_is="a loop over the frames",
        bound_is="the three batched matrix products",
    )


def text_tower(settings: Settings) -> Row:
    """CLIP's text tower over soft keywords; its weights get no gradient, the keywords do."""
    from espnet_plugin.speechclip.clip import FrozenCLIP

    batch, most = (2, 4) if settings.quick else (32, 15)
    name = str(tiny_clip(settings.work_dir)) if settings.quick else "ViT-B-32"
    clip = FrozenCLIP(model=name, pretrained="random", image_tower=False)
    tower = clip.text_tower
    lengths = torch.randint(max(1, most // 3), most + 1, (batch,))
    lengths[0] = most
    tokens = torch.randn(batch, most, clip.token_embedding.size(1), requires_grad=True)
    whole = tower.context_length - 2

    def obvious(tokens: Tensor) -> Tensor:
        """All 77 positions, as for a written caption."""
        return clip.encode_soft_tokens(F.pad(tokens, (0, 0, 0, whole - most)), lengths)

    linears = [layer.weight for layer in tower.modules() if isinstance(layer, torch.nn.Linear)]
    linears += [block.attn.in_proj_weight for block in tower.transformer.resblocks]
    positions = batch * (most + 2)
    there = [(torch.randn(positions, weight.size(1)), weight.T) for weight in linears]
    back = [(torch.randn(positions, weight.size(0)), weight) for weight in linears]
    times = compare(
        forward_backward(lambda t: clip.encode_soft_tokens(t, lengths), tokens),
        forward_backward(obvious, tokens),
        multiply(*there, *back),
        settings,
    )
    return Row(
        f"text tower of ViT-B/32: {batch} captions of at most {most} keywords",
        **times,
        baseline_is=f"all {tower.context_length} positions",
        bound_is="its matrix products, forward and backward",
    )


def contrastive(settings: Settings, batch: int) -> Row:
    """The objective of a batch."""
    from espnet_plugin.speechclip.losses import MaskedContrastiveLoss

    speech = F.normalize(torch.randn(batch, TOKEN_DIM), dim=-1).requires_grad_()
    images = F.normalize(torch.randn(batch, TOKEN_DIM), dim=-1)
    ids = torch.arange(batch) // 2
    loss = MaskedContrastiveLoss()

    def obvious(speech: Tensor) -> Tensor:
        """Row by row and column by column."""
        total = speech.new_zeros(())
        for mine, others in ((speech, images), (images, speech)):
            for row in range(batch):
                logits = mine[row] @ others.T / TEMPERATURE
                negatives = logits[ids != ids[row]]
                terms = torch.cat([logits[row : row + 1], negatives])
                total = total + terms.logsumexp(0) - logits[row]
        return total / (2 * batch)

    # similarities, and the gradient of the speech side
    products = multiply((speech.detach(), images.T), (torch.randn(batch, batch), images))
    times = compare(
        forward_backward(lambda s: loss(s, images, ids), speech),
        forward_backward(obvious, speech),
        products,
        settings,
    )
    return Row(
        f"contrastive loss: batch of {batch:,}, {TOKEN_DIM} dimensions",
        **times,
        baseline_is="a loop over rows and columns",
        bound_is="the two matrix products",
    )
