"""What is measured on a card: a random checkpoint that `transformers` saves, and a bundle with its graphs for CPU and for CUDA.

Seeds are fixed, so that runs on different machines measure the same numbers. Two random heads stand in for trained ones: a
classifier of documents and one of tokens, so that there are labels which must not change.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

from drlongformer import bundle
from drlongformer.bundle import Bundle, GraphSpec, HeadSpec, Manifest, TokenizerSpec
from drlongformer.model.bundling import About, Extras, export_bundle
from drlongformer.model.checkpoint import architecture, load_hf
from drlongformer.model.cuda import GRAPH_FILE as CUDA_GRAPH
from drlongformer.model.cuda import WEIGHTS_FILE as CUDA_WEIGHTS
from drlongformer.model.cuda import fused_graph, save
from drlongformer.model.export import GRAPH_FILE, OPSET, WEIGHTS_FILE, to_ir, write
from drlongformer.model.fused import halved
from drlongformer.model.heads import ClassificationHead, LongformerWithHeads, TokenHead
from drlongformer.model.tokenizer_files import TokenizerFile
from drlongformer.types import HIDDEN

NAME = "random"
CLASSES = ("a", "b", "c")
TAGS = ("O", "B-X", "I-X", "B-Y", "I-Y")
HEADS = (
    HeadSpec(name="embed", task="embed", output=HIDDEN, global_attention="first", pooling="mean", trained=False),
    HeadSpec(
        name="topic",
        task="classify",
        output="topic",
        labels=CLASSES,
        global_attention="first",
        function="softmax",
        trained=False,
    ),
    HeadSpec(name="tags", task="ner", output="tags", labels=TAGS, global_attention="first", decoding="bio", trained=False),
)
TOKENIZER = TokenizerFile(content=b"{}", spec=TokenizerSpec(bos_id=0, eos_id=2, pad_id=1, mask_id=4, mask_token="<mask>"))  # noqa: S106


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """window: two-sided, in tokens. longest: tokens of a full window. block: token slots of a block."""

    layers: int
    hidden: int
    heads: int
    window: int
    longest: int
    vocabulary: int
    block: int


SIZES = {
    "full": Size(layers=12, hidden=768, heads=12, window=512, longest=4096, vocabulary=50265, block=128),
    "tiny": Size(layers=2, hidden=32, heads=4, window=32, longest=128, vocabulary=96, block=16),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """checkpoint: folder of the encoder in Hugging Face's form. model: the packed module with the same weights, in fp32."""

    size: Size
    checkpoint: Path
    model: LongformerWithHeads
    bundle: Bundle


def build(size: Size, folder: Path, *, proved: bool = False) -> Built:
    """Write a checkpoint and a bundle into `folder`, or read those that are there.

    proved: with every proof of an import, which takes minutes at full size.
    """
    checkpoint = folder / "checkpoint"
    if not checkpoint.is_dir():
        save_checkpoint(size, checkpoint)
    model = with_heads(load_hf(checkpoint, block=size.block).model)
    store = folder / "store"
    if bundle.versions(store, NAME):
        place = bundle.find(store, NAME)
    elif proved:
        place = export_bundle(
            model, HEADS, TOKENIZER, about=About(name=NAME), store=store, extras=Extras(cuda=True), report=print
        )
    else:
        place = _unproved(model, store)
    return Built(size=size, checkpoint=checkpoint, model=model, bundle=bundle.load(place))


def save_checkpoint(size: Size, folder: Path) -> None:
    """A Longformer of random weights, as transformers saves it."""
    torch.manual_seed(0)
    config = transformers.LongformerConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.hidden,
        max_position_embeddings=size.longest + 2,
        type_vocab_size=1,
        attention_window=[size.window] * size.layers,
        pad_token_id=1,
        sep_token_id=2,
    )
    transformers.LongformerModel(config, add_pooling_layer=False).save_pretrained(folder)


def with_heads(model: LongformerWithHeads) -> LongformerWithHeads:
    """The encoder with two random heads whose answers are spread, so that few labels hang on the last digit."""
    config = model.longformer.config
    torch.manual_seed(1)
    heads = {"topic": ClassificationHead(config, len(CLASSES)), "tags": TokenHead(config, len(TAGS))}
    with torch.no_grad():
        for head in heads.values():
            for parameter in head.parameters():
                parameter.mul_(4 if parameter.ndim > 1 else 1)
    return LongformerWithHeads(model.longformer, heads).eval()


def _unproved(model: LongformerWithHeads, store: Path) -> Path:
    """Both graphs in a bundle, without the proofs of an import: the run itself compares them."""
    config = model.longformer.config
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        write(to_ir(model), work)
        save(fused_graph(halved(model)), work)
        graphs = (
            GraphSpec(file=GRAPH_FILE, weights=WEIGHTS_FILE, precision="fp32", target="cpu", opset=OPSET),
            GraphSpec(file=CUDA_GRAPH, weights=CUDA_WEIGHTS, precision="fp16", target="cuda", opset=OPSET),
        )
        manifest = Manifest(
            name=NAME,
            version=1,
            base_model=None,
            base_revision=None,
            licence=None,
            patient_data=False,
            description="random weights",
            architecture=architecture(config),
            block=config.block,
            max_tokens=config.max_tokens,
            window_overlap=config.max_tokens // 8,
            heads=HEADS,
            tokenizer=TOKENIZER.spec,
            graphs=graphs,
        )
        files = {name: work / name for graph in graphs for name in graph.files}
        return bundle.write(store, manifest, {**files, TOKENIZER.spec.file: TOKENIZER.content})
