"""The Python client: every route of the service as a method, waiting (`Client`) or awaited (`AsyncClient`).

from drlongformer import Client

with Client("http://127.0.0.1:8000", key="...") as client:
    vectors = client.embed(["Toux et fièvre."]).vectors
"""

from drlongformer.client.awaiting import AsyncClient
from drlongformer.client.blocking import Client
from drlongformer.client.errors import (
    BadRequest,
    Busy,
    ClientError,
    Failed,
    InvalidSetting,
    NotAllowed,
    OutOfTime,
    Problem,
    Refused,
    TooLong,
    UnexpectedAnswer,
    Unreachable,
    Untrusted,
)
from drlongformer.client.results import Answer, Embeddings
from drlongformer.client.units import Document, Question

__all__ = [
    "Answer",
    "AsyncClient",
    "BadRequest",
    "Busy",
    "Client",
    "ClientError",
    "Document",
    "Embeddings",
    "Failed",
    "InvalidSetting",
    "NotAllowed",
    "OutOfTime",
    "Problem",
    "Question",
    "Refused",
    "TooLong",
    "UnexpectedAnswer",
    "Unreachable",
    "Untrusted",
]
