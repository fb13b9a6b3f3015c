"""A sensible catalogue of models, and the answers of the endpoints that list it.

Prices are a snapshot in USD per million tokens; what is sold by other units has its prices in `bill`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from batchrunner.simulator import errors
from batchrunner.simulator.errors import Refusal
from batchrunner.simulator.settings import Settings

DEFAULT_CONTEXT: Final = 131_072
DEFAULT_DIMENSIONS: Final = 1024
PAGE: Final = 10
"""Models on a page of the newer list, unless the client asks for another number."""
_CREATED: Final = 1_735_689_600


class Model(NamedTuple):
    """One model on offer; prices in USD per million tokens, lengths in tokens."""

    id: str
    kind: str = "chat"
    context: int = DEFAULT_CONTEXT
    input: float = 0.0
    output: float = 0.0
    cached: float | None = None
    dimensions: int | None = None
    thinking: str = ""
    """Where it thinks: `tags` in the text itself, `field` beside it; empty: it does not."""


TOGETHER: Final = (
    Model("meta-llama/Llama-3.3-70B-Instruct-Turbo", input=1.04, output=1.04),
    Model("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", input=0.18, output=0.18),
    Model("meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo", input=0.88, output=0.88),
    Model("meta-llama/Llama-3.1-405B-Instruct", input=3.50, output=3.50),
    Model("meta-llama/Llama-3.2-3B-Instruct", input=0.06, output=0.06),
    Model("meta-llama/Llama-3.2-1B-Instruct", input=0.06, output=0.06),
    Model("mistralai/Mixtral-8x7B-Instruct-v0.1", context=32_768, input=0.60, output=0.60),
    Model("deepseek-ai/DeepSeek-V3", input=1.25, output=1.25),
    Model("deepseek-ai/DeepSeek-R1-0528", context=163_840, input=3.00, output=7.00, thinking="tags"),
    Model("meta-llama/Llama-3.2-90B-Vision-Instruct-Turbo", input=1.20, output=1.20),
    Model("Qwen/Qwen2.5-7B-Instruct-Turbo", context=32_768, input=0.30, output=0.30),
    Model("Qwen/Qwen2.5-72B-Instruct-Turbo", context=32_768, input=1.20, output=1.20),
    Model("openai/gpt-oss-120b", input=0.15, output=0.60),
    Model("openai/gpt-oss-20b", input=0.05, output=0.20),
    Model("MiniMaxAI/MiniMax-M3", input=0.30, output=1.20, cached=0.06, thinking="field"),
    Model("zai-org/GLM-5.2", input=1.40, output=4.40, cached=0.26, thinking="field"),
    Model("BAAI/bge-base-en-v1.5", "embedding", 512, 0.008, dimensions=768),
    Model("BAAI/bge-large-en-v1.5", "embedding", 512, 0.016, dimensions=1024),
    Model("intfloat/multilingual-e5-large-instruct", "embedding", 514, 0.02, dimensions=1024),
    Model("Alibaba-NLP/gte-modernbert-base", "embedding", 8192, 0.008, dimensions=768),
    Model("Salesforce/Llama-Rank-V1", "rerank", 8192, 0.10),
    Model("openai/whisper-large-v3", "transcribe", 448),
    Model("black-forest-labs/FLUX.1-schnell", "image", 512),
    Model("cartesia/sonic-2", "audio", 8192),
    Model("minimax/hailuo-02", "video", 8192),
)

OPENAI: Final = (
    Model("gpt-4o", context=128_000, input=2.50, output=10.00, cached=1.25),
    Model("gpt-4o-mini", context=128_000, input=0.15, output=0.60, cached=0.075),
    Model("text-embedding-3-small", "embedding", 8192, 0.02, dimensions=1536),
    Model("text-embedding-3-large", "embedding", 8192, 0.13, dimensions=3072),
    Model("text-embedding-ada-002", "embedding", 8192, 0.10, dimensions=1536),
    Model("whisper-1", "transcribe", 448),
    Model("gpt-4o-transcribe", "transcribe", 16_000, input=2.50, output=10.00),
    Model("gpt-image-1", "image", 8192),
    Model("dall-e-3", "image", 8192),
    Model("tts-1", "audio", 4096),
)

_BY_ID: Final = {model.id: model for model in (*TOGETHER, *OPENAI)}


def find(model: str) -> Model | None:
    """The model with this id, or None for one that is not in the catalogue."""
    return _BY_ID.get(model)


def context_of(model: str) -> int:
    """The context length of `model` in tokens, or the default for one that is not in the catalogue."""
    found = _BY_ID.get(model)
    return DEFAULT_CONTEXT if found is None else found.context


def dimensions_of(model: str) -> int:
    """The vector length of `model`, or the default for one that is not in the catalogue."""
    found = _BY_ID.get(model)
    return DEFAULT_DIMENSIONS if found is None or found.dimensions is None else found.dimensions


def thinking_of(model: str) -> str:
    """Where `model` thinks; empty for one that does not, or is not in the catalogue."""
    found = _BY_ID.get(model)
    return "" if found is None else found.thinking


def offered(flavour: str, only: Sequence[str] | None) -> list[Model]:
    """The models to list: the flavour's catalogue, or exactly the ids in `only`."""
    if only is None:
        return list(TOGETHER if flavour == "together" else OPENAI)
    return [_BY_ID.get(name, Model(name)) for name in only]


def together_list(models: Sequence[Model]) -> list[dict[str, Any]]:
    """Together wire format of `GET /v1/models`: a bare array, prices in USD per million tokens."""
    return [_together_item(model) for model in models]


def openai_list(models: Sequence[Model]) -> dict[str, Any]:
    """OpenAI wire format of `GET /v1/models`."""
    items = [{"id": model.id, "object": "model", "created": _CREATED, "owned_by": "system"} for model in models]
    return {"object": "list", "data": items}


def supported_list(models: Sequence[Model], after: str = "", limit: int = PAGE) -> dict[str, Any] | None:
    """Together wire format of `GET /v2/supported-models`: one page, `contextLength` as text. None: no such cursor."""
    cursors = [f"{n}&{model.id}" for n, model in enumerate(models, 1)]  # as odd as a cursor may be: it is to be escaped
    if after and after not in cursors:
        return None
    start = cursors.index(after) + 1 if after else 0
    end = start + limit
    page = [_supported_item(model) for model in models[start:end]]
    return {"data": page, "next_cursor": cursors[end - 1] if end < len(models) else None}


def listed(route: str, query: str, settings: Settings) -> object:
    """What a path that lists the models answers: a value to be JSON, or a Refusal."""
    models = offered(settings.flavour, settings.models)
    if route == "supported_models":
        asked = dict(parse_qsl(query))
        limit = asked.get("limit", str(PAGE))
        page = supported_list(models, asked.get("after", ""), int(limit)) if limit.isdecimal() and int(limit) else None
        return page or Refusal(400, "the cursor or the limit is not valid", code="invalid_params", param="after")
    if settings.newer_catalogue:
        return errors.unknown_path("GET", "/v1/models")
    return together_list(models) if settings.flavour == "together" else openai_list(models)


def _together_item(model: Model) -> dict[str, Any]:
    pricing: dict[str, float] = {"hourly": 0, "input": model.input, "output": model.output, "base": 0, "finetune": 0}
    if model.cached is not None:
        pricing["cached_input"] = model.cached
    return {
        "id": model.id,
        "object": "model",
        "created": _CREATED,
        "type": model.kind,
        "display_name": _display_name(model),
        "organization": model.id.partition("/")[0],
        "link": f"https://huggingface.co/{model.id}",
        "license": "other",
        "context_length": model.context,
        "pricing": pricing,
    }


def _supported_item(model: Model) -> dict[str, Any]:
    capability = {"embedding": "CAPABILITY_EMBEDDING", "rerank": "CAPABILITY_RERANKING"}
    pricing = {"input": model.input, "output": model.output}
    if model.cached is not None:
        pricing["cachedInput"] = model.cached
    return {
        "id": f"ml_{model.id.replace('/', '_')}",
        "name": model.id,
        "displayName": _display_name(model),
        "displayType": model.kind,
        "baseModel": "",
        "baseModelId": "",
        "capabilities": [capability.get(model.kind, "CAPABILITY_CHAT")],
        "createdAt": "2025-01-01T00:00:00Z",
        "updatedAt": "2025-01-01T00:00:00Z",
        "deploymentProfiles": [],
        "inputModalities": ["MODALITY_TEXT"],
        "outputModalities": ["MODALITY_TEXT"],
        "products": ["PRODUCT_SERVERLESS"],
        "publisher": model.id.partition("/")[0],
        "status": "SUPPORTED_MODEL_STATUS_SUPPORTED",
        "contextLength": str(model.context),
        "pricing": pricing,
    }


def _display_name(model: Model) -> str:
    return model.id.rpartition("/")[2].replace("-", " ")
