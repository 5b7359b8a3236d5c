"""`bundle.json`: what a model is, head by head and graph by graph, with the hash of every file; read strictly.

A manifest that is not fully understood is refused, and so is one whose parts do not fit together.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, TypeAdapter, ValidationError, model_validator

from drlongformer.types import HIDDEN, Rule, Task

SCHEMA_VERSION: Final = 1
ANSWER: Final = "answer"
"""The name under which a multiple-choice head of layout `each` keeps the threshold of an option."""

Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["cpu", "cuda"]
BundleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$"
FileName = Annotated[str, StringConstraints(pattern=FILE_NAME)]
"""Relative, with `/`; no part is hidden, `..` or empty."""


class Strict(BaseModel):
    """Nothing is coerced, nothing unknown is accepted."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(Strict):
    """Hash and size of one file."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class TokenizerSpec(Strict):
    """The tokenizer's file and special ids, and how texts are read.

    word_splitting: whether the heads were trained on text or on pre-split words. normalisation: what is put right in a text
    before it is read (`text/normalisation.py`).
    """

    file: FileName = "tokenizer.json"
    bos_id: int
    eos_id: int
    pad_id: int
    mask_id: int
    mask_token: str
    word_splitting: Literal["raw", "words"] = "raw"
    normalisation: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _rules_are_named_once(self) -> Self:
        if len(set(self.normalisation)) != len(self.normalisation):
            raise ValueError("a rule of normalisation is named twice")
        return self


class HeadSpec(Strict):
    """One head: which graph output it reads, and how its task turns that output into an answer.

    labels: NER: BIO tags in logit order; classification: label names in logit order; multiple choice of layout `joint`: the
    letters in logit order; otherwise empty. global_attention is what the head was trained with; `choice`: the tokens behind
    the first separator pair, Hugging Face's rule for multiple choice. score_range: similarity, what a `sigmoid` of 0 and of 1
    stand for. layout: multiple choice, `each` option in a window of its own (one logit each), or all of them `joint` in one
    window. thresholds: per entity type, label or letter; a `sigmoid` head of layout `each` has one for all options, `answer`.
    trained: whether the head's answers come from training, or only happen to be computable.
    """

    name: str
    task: Task
    output: str
    labels: tuple[str, ...] = ()
    global_attention: Literal["none", "first", "choice"]
    pooling: Literal["cls", "mean"] | None = None
    function: Literal["softmax", "sigmoid", "none"] | None = None
    thresholds: dict[str, float] = {}
    window_merge: Literal["mean", "max"] = "mean"
    decoding: Literal["bio"] | None = None
    score_range: tuple[float, float] | None = None
    layout: Literal["each", "joint"] | None = None
    trained: bool

    @model_validator(mode="after")
    def _fits_its_task(self) -> Self:
        labelled = self.task in ("ner", "classify") or self.layout == "joint"
        if labelled != bool(self.labels):
            raise ValueError(f"a {self.task} head with {len(self.labels)} labels")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat")
        if unknown := self.thresholds.keys() - self._decided:
            raise ValueError(f"thresholds for unknown labels {sorted(unknown)}")
        if (self.task == "embed") != (self.pooling is not None):
            raise ValueError(f"a {self.task} head with pooling {self.pooling}")
        if self.task == "embed" and self.output != HIDDEN:
            raise ValueError(f"an embedding reads {HIDDEN!r}, not {self.output!r}")
        return self

    @model_validator(mode="after")
    def _decides_as_its_task(self) -> Self:
        if self.task in ("classify", "similarity", "multiple-choice") and self.function is None:
            raise ValueError(f"a {self.task} head names its function")
        if (self.task == "multiple-choice") != (self.layout is not None):
            raise ValueError(f"a {self.task} head with layout {self.layout}")
        if self.task == "similarity" and self.function == "softmax":
            raise ValueError("a similarity head has one score, and softmax makes any one score 1")
        if self.score_range is not None and self.task != "similarity":
            raise ValueError(f"a {self.task} head with a range of scores")
        if self.global_attention == "choice" and self.task != "multiple-choice":
            raise ValueError(f"a {self.task} head has no choice to attend to globally")
        return self

    @property
    def _decided(self) -> set[str]:
        """What a threshold may be given for."""
        if self.layout == "each":
            return {ANSWER} if self.function == "sigmoid" else set()
        types = {label[2:] for label in self.labels if label[:2] in ("B-", "I-")} if self.task == "ner" else set()
        return types | set(self.labels)


class Parity(Strict):
    """One comparison made at export: a pack of windows of these lengths, against our module or Hugging Face's own class."""

    lengths: tuple[int, ...]
    max_abs_error: float
    tolerance: float
    against: Literal["module", "transformers"] = "module"


class Compared(Strict):
    """The score that decides for one head on one set, of the fp32 graph and of the int8 graph, computed in the same run."""

    name: str
    fp32: float
    int8: float
    documents: int

    @property
    def lost_points(self) -> float:
        """By how many hundredths the int8 graph scores less; negative where it scores more."""
        return 100 * (self.fp32 - self.int8)


class Rounding(Strict):
    """What an int8 graph changes, measured against the fp32 graph it was made from.

    layers: how many of the encoder's linear layers are int8; the others would have lost too much. cosine: the lowest between
    both graphs' mean embeddings of `windows` windows, least allowed `least_cosine`. neighbours_change: the largest difference
    of an answer alone and in packs. scores: by set and head, none where no annotations were given; most_points: the largest
    loss allowed on any.
    """

    layers: int
    linear_layers: int
    windows: int
    cosine: float
    least_cosine: float
    neighbours_change: float
    scores: dict[str, Compared] = {}
    most_points: float | None = None


class Halving(Strict):
    """What an fp16 graph changes against the fp32 graph, both computed on a CPU.

    cosine: the lowest between both graphs' mean embeddings of `windows` windows, least allowed `least_cosine`. max_abs_error:
    the largest difference of an answer, in units of the largest value where that is above one; at most `tolerance`.
    neighbours_change: the largest difference of an answer alone and in packs, at most `tolerance` too.
    """

    windows: int
    cosine: float
    least_cosine: float
    max_abs_error: float
    neighbours_change: float
    tolerance: float


class GraphSpec(Strict):
    """One ONNX graph and the weight files it refers to; `shared_weights` is another graph's.

    A `cpu` graph uses standard operators only and runs on every device, but for an int8 one, which runs on CPUs alone. A `cuda`
    graph's parity is that of the same nodes in fp32 on a CPU; `halving` says what its fp16 changes.
    """

    file: FileName
    weights: FileName | None
    shared_weights: FileName | None = None
    precision: Precision
    target: Target
    opset: int
    parity: tuple[Parity, ...] = ()
    rounding: Rounding | None = None
    halving: Halving | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Every file it needs."""
        return tuple(name for name in (self.file, self.weights, self.shared_weights) if name is not None)

    def runs_on(self, target: Target) -> bool:
        """Whether a device of that kind computes it: what was made for it, and portable graphs."""
        return self.target == target or (self.target == "cpu" and self.precision != "int8")


class Manifest(Strict):
    """`bundle.json`. architecture: the encoder's configuration, fields named as in Hugging Face's `config.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: BundleName
    version: Annotated[int, Field(ge=1)]
    base_model: str | None
    base_revision: str | None
    licence: str | None
    patient_data: bool
    description: str
    architecture: dict[str, JsonValue]
    block: Annotated[int, Field(ge=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    window_overlap: Annotated[int, Field(ge=0)] = 512
    heads: tuple[HeadSpec, ...]
    tokenizer: TokenizerSpec
    graphs: tuple[GraphSpec, ...]
    training: dict[str, JsonValue] = {}
    scores: dict[str, JsonValue] = {}
    files: dict[FileName, FileEntry] = {}

    @model_validator(mode="after")
    def _heads_and_graphs_are_there(self) -> Self:
        names = [head.name for head in self.heads]
        if not names or not self.graphs:
            raise ValueError(f"{len(names)} heads and {len(self.graphs)} graphs; at least one of each is needed")
        if len(set(names)) != len(names):
            raise ValueError(f"head names repeat: {names}")
        if "vocab_size" not in self.architecture:
            raise ValueError("architecture has no vocab_size")
        return self

    @property
    def vocab_size(self) -> int:
        """Rows of the word embedding table; ids must stay below."""
        return TypeAdapter(int).validate_python(self.architecture["vocab_size"])

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every head of the graphs, in their order: `hidden`, then the outputs the head specs read."""
        return tuple(dict.fromkeys((HIDDEN, *(head.output for head in self.heads))))

    @property
    def named_files(self) -> frozenset[str]:
        """Files that the manifest's own entries refer to."""
        return frozenset({self.tokenizer.file}.union(*(graph.files for graph in self.graphs)))


def reasons(error: ValidationError) -> str:
    """What pydantic objects to, without the values."""
    found = error.errors(include_input=False, include_url=False)
    return "; ".join(": ".join(filter(None, [".".join(map(str, each["loc"])), each["msg"]])) for each in found[:5])
