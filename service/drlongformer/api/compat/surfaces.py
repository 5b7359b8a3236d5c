"""All drop-in surfaces together."""

from __future__ import annotations

from fastapi import APIRouter

from drlongformer.api.compat import huggingface, oip, openai, tei
from drlongformer.api.routes import Service, answer_head


def surface_routes(service: Service) -> APIRouter:
    """Every route of every surface; they are others' contracts, so our own document leaves them out."""
    router = APIRouter(include_in_schema=False)
    for surface in (openai, huggingface, tei, oip):
        surface.add_routes(router, service)
    answer_head(router)
    return router
