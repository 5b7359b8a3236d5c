"""Everything that can be set, in one frozen tree; the only module that reads the environment.

`DRLONGFORMER_<GROUP>__<FIELD>` sets a field, say `DRLONGFORMER_SERVER__PORT=9000`; lists and mappings are written as JSON.
Flags of the command line come first, then the environment, then the defaults below. A variable with the prefix that names no
field is refused: a misspelt limit must not pass for a limit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from drlongformer.errors import DrLongformerError
from drlongformer.types import Task

PREFIX = "DRLONGFORMER_"
DELIMITER = "__"

FLAGS: Mapping[str, str] = {
    "server.host": "--host",
    "server.port": "--port",
    "server.keys": "--keys",
    "server.insecure_no_keys": "--insecure-no-keys",
    "server.playground": "--no-playground",
    "models.store": "--store",
    "models.names": "--model",
    "models.defaults": "--default",
    "models.device": "--device",
    "models.engine": "--engine",
    "models.precision": "--precision",
    "models.threads": "--threads",
    "logs.format": "--log-format",
}
"""The flag of `serve` that sets a field, so that a refusal names what the caller wrote."""

OWN = "drlongformer"
"""The type of errors whose message is already ours."""


def _shaped(pattern: str, *, as_told: str) -> AfterValidator:
    """Refuse strings that do not match, in words instead of the pattern."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise PydanticCustomError(OWN, "must be {as_told}", {"as_told": as_told})
        return value

    return AfterValidator(check)


ModelName = Annotated[
    str, _shaped(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(:[1-9][0-9]{0,8})?", as_told="a bundle's NAME or NAME:VERSION")
]
Device = Annotated[
    str,
    _shaped(
        r"cpu(,cpu){0,15}|cuda(:[0-9]{1,2}(,(cuda:)?[0-9]{1,2}){0,15})?",
        as_told="cpu, cuda or cuda:0 to cuda:99, or several such as cuda:0,1 or cpu,cpu",
    ),
]


class SettingsError(DrLongformerError):
    """A setting that does not exist or cannot have this value."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(_Group):
    """Where the service listens, and how it stops."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on; a wider one than loopback reaches more callers, friendly or not."
    )
    port: int = Field(8000, ge=0, le=65535, description="TCP port; 0 takes any free one.")
    keys: Path | None = Field(
        None, description="File of API keys (`drlongformer keys`); with it every request needs one, without it none does."
    )
    insecure_no_keys: bool = Field(
        False, description="Listen beyond loopback although nobody is asked for a key; only behind something that asks."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Further names that a Host header may have where the service listens on loopback and asks for no key; "
        "others than these and localhost get 421, so that no web page reaches it through a browser.",
    )
    playground: bool = Field(
        True, description="Whether the page at `/` is there, for people; its files are open to anyone, its requests need a key."
    )
    drain_seconds: float = Field(
        2.0, ge=0, le=600, description="After SIGTERM, how long requests are still taken while balancers learn to go elsewhere."
    )
    stop_seconds: int = Field(
        30, ge=1, le=3600, description="After the drain, how long running requests may take before they are cut off."
    )
    idle_seconds: int = Field(
        15, ge=1, le=3600, description="How long an idle connection is kept; longer saves handshakes, shorter frees sockets."
    )


class Limits(_Group):
    """What one request may ask for."""

    max_body_bytes: int = Field(
        8 * 1024 * 1024,
        ge=1024,
        description="Bytes of one request body; larger admits longer requests and costs memory for each.",
    )
    max_held_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024,
        description="Bytes of all bodies in progress together; past it new ones get 429, so memory stays bounded.",
    )
    max_documents: int = Field(
        64, ge=1, le=10_000, description="Documents of one request; more per request means fewer round trips, longer waits."
    )
    max_characters: int = Field(
        1_000_000,
        ge=1,
        description="Characters of one document; bounds what tokenizing it may cost before its tokens are known.",
    )
    max_windows: int = Field(64, ge=1, description="Windows of one document; bounds how long one document may hold the engine.")
    max_answer_items: int = Field(
        200_000,
        ge=1,
        description="Tokens that /tokenize tells of, or words for masks, in one answer; larger ones cost memory and time.",
    )
    max_header_bytes: int = Field(
        16 * 1024,
        ge=1024,
        le=1024 * 1024,
        description="Bytes of a request's line and headers; larger admits longer headers and costs memory.",
    )
    header_seconds: float = Field(
        10.0, gt=0, description="How long a request's headers may take to arrive; shorter sheds slow peers sooner."
    )
    body_seconds: float = Field(
        10.0, gt=0, description="How long a body may take to arrive; longer suits thin lines, shorter sheds slow peers."
    )
    request_seconds: float = Field(
        300.0,
        gt=0,
        description="Longest time a request may take, and the default; a caller may ask for less with X-Request-Timeout.",
    )


class Models(_Group):
    """Which bundles are served, and on what."""

    store: Path = Field(Path("model_store"), description="Folder with the bundles, `<name>/<version>/`.")
    names: tuple[ModelName, ...] = Field(
        (), description="Bundles to serve, `name` or `name:version`; empty serves the store's every name."
    )
    defaults: dict[Task, str] = Field(
        {}, description="For a task that several bundles have, the bundle that answers when none is named."
    )
    public_key: Path | None = Field(
        None,
        description="File of a public key (PEM): bundles not signed for it are refused at the start and at a swap; needs the "
        "extra `signing`; unset: hashes alone are checked.",
    )
    device: Device = Field(
        "cpu",
        description="`cpu`, `cuda`, `cuda:1`, or several, `cuda:0,cuda:1`, each with an engine that holds the model once more; "
        "a device that cannot be had stops the start, nothing falls back.",
    )
    engine: Literal["onnxruntime", "openvino"] = Field(
        "onnxruntime", description="What computes; `openvino` is faster on a CPU and needs the extra of that name."
    )
    precision: Literal["fp32", "fp16", "bf16", "int8"] = Field(
        "fp32",
        description="What products are computed in; `bf16` needs `openvino` and a processor with AMX or AVX-512 BF16, is "
        "several times faster there, and changes the third digit of answers; `int8` needs a bundle with an int8 graph and "
        "VNNI or AMX, and costs what the bundle says; `fp16` needs a card and a bundle with a `cuda` graph.",
    )
    gpu_memory_gib: float = Field(
        0.0,
        ge=0,
        description="The most of each card's memory that the engine takes, in GiB; 0 takes what it needs, and with too low a "
        "limit batches fail and shrink.",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="CPU threads of each engine; 0 divides every core among them, fewer leave room for tokenizing and HTTP.",
    )


class Batching(_Group):
    """How work waits and is put together."""

    max_batch_tokens: int | None = Field(
        None,
        ge=1,
        description="Token slots of one batch; larger raises throughput, smaller shortens the wait; "
        "unset: a figure for the device, refined from live batches.",
    )
    max_queue_tokens: int = Field(
        1_000_000, ge=1, description="Token slots that may wait; a longer queue refuses less and makes callers wait longer."
    )


class Logs(_Group):
    """What is written about requests; never a word of a text."""

    format: Literal["json", "text"] = Field("json", description="`json` for machines, `text` for people.")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is written; `warning` drops the access lines."
    )


HeaderName = Annotated[str, _shaped(r"[A-Za-z0-9-]{1,64}", as_told="the name of a header")]


class Audit(_Group):
    """Who asked what, one line a request, apart from the logs (docs/audit.md)."""

    file: Path | None = Field(None, description="File that audit lines are appended to, `-` for standard output; unset: none.")
    user_header: HeaderName | None = Field(
        None, description="Header in which a trusted proxy names the user, for the audit alone."
    )
    study_header: HeaderName | None = Field(
        None, description="Header in which a trusted proxy names the study or department, for the audit alone."
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Addresses or networks whose headers are believed; anyone else could write any name."
    )


Url = Annotated[str, _shaped(r"https?://[^\s/?#@]+(/[^\s?#]*)?", as_told="a URL, http://HOST:PORT/PATH, without a user")]


class Tracing(_Group):
    """Where spans of requests go (docs/operations.md); sizes and counts, never a word of a text."""

    endpoint: Url | None = Field(
        None,
        description="URL that spans are sent to by OTLP over HTTP, `http://HOST:4318/v1/traces`; needs the extra `otel`; "
        "unset: none are made.",
    )


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=DELIMITER, frozen=True, extra="forbid", validate_default=True
    )

    server: Server = Server()
    limits: Limits = Limits()
    models: Models = Models()
    batching: Batching = Batching()
    logs: Logs = Logs()
    audit: Audit = Audit()
    tracing: Tracing = Tracing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One line of the settings' table: the variable, its default as written in the environment, what it trades."""

    variable: str
    default: str
    meaning: str


def load(overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """The settings in force: overrides (group -> field -> value), then environment, then defaults. Raises SettingsError."""
    _refuse_unknown_variables()
    groups: dict[str, Any] = {group: dict(fields) for group, fields in (overrides or {}).items()}
    try:
        return Settings(**groups)
    except ValidationError as error:
        raise SettingsError("; ".join(_reasons(error, groups))) from None
    except ValueError as error:  # a variable that should be JSON and is not
        raise SettingsError(f"{error}; lists and mappings are written as JSON") from None


def reference() -> Iterator[Reference]:
    """Every setting, in the order of the tree."""
    for group, field in Settings.model_fields.items():
        for name, leaf in type(field.default).model_fields.items():
            value = "" if leaf.default is None else type(field.default)().model_dump_json(include={name})
            yield Reference(
                variable=_variable(group, name),
                default=value.partition(":")[2].removesuffix("}").strip('"'),
                meaning=leaf.description or "",
            )


def _variable(*path: str) -> str:
    return f"{PREFIX}{DELIMITER.join(path)}".upper()


def _refuse_unknown_variables() -> None:
    known = {line.variable for line in reference()} | {_variable(group) for group in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsError(f"no such setting: {', '.join(unknown)}")


OF_LIBRARIES = ("RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM")


def of_libraries() -> Mapping[str, str]:
    """Variables of libraries that change how fast the service is, as far as they are set; `doctor` tells of them."""
    return {name: os.environ[name] for name in OF_LIBRARIES if name in os.environ}


def require_store(store: Path) -> None:
    """Raises SettingsError if there is no such folder: a misspelt path must not pass for an empty store."""
    if not store.is_dir():
        raise SettingsError(f"there is no folder {store}; --store or {_variable('models', 'store')} says where the bundles are")


_MESSAGES: Mapping[str, str] = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt}",
}
"""Our sentence for each type of pydantic's errors."""


def _reasons(error: ValidationError, overrides: Mapping[str, Any]) -> Iterator[str]:
    for reason in error.errors(include_url=False):
        group, *inside = map(str, reason["loc"])
        told = _MESSAGES.get(reason["type"], reason["msg"]).format(**reason.get("ctx", {}))
        if reason["type"] in ("greater_than_equal", "less_than_equal"):
            told = _range(type(Settings.model_fields[group].default).model_fields[inside[0]])
        if inside[-1:] == ["[key]"]:
            told = f"is written TASK=NAME, and TASK {told}"
        yield f"{_named(group, inside[:1], overrides)} {told}"


def _named(group: str, field: list[str], overrides: Mapping[str, Any]) -> str:
    """The flag where one was used, and the variable; `field` is empty where the whole group is at fault."""
    variable = _variable(group, *field)
    flag = next((FLAGS.get(f"{group}.{name}") for name in field if name in overrides.get(group, ())), None)
    return f"{flag} ({variable})" if flag else variable


def _range(field: FieldInfo) -> str:
    """The numbers that a field takes."""
    lowest = next((bound.ge for bound in field.metadata if hasattr(bound, "ge")), None)
    highest = next((bound.le for bound in field.metadata if hasattr(bound, "le")), None)
    if lowest is None:
        return f"must be at most {highest}"
    return f"must be at least {lowest}" if highest is None else f"must be from {lowest} to {highest}"
