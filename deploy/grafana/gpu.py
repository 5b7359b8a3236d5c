"""Panels about GPUs: what the card does, how it is, what the service makes of it. Metrics of NVIDIA's exporter (../dcgm)."""

from __future__ import annotations

from deploy.grafana.panels import Panel, each, lines

USE = (
    Panel(
        title="Busy",
        about="Share of time in which a kernel ran. Low while engines are busy: the host feeds it too slowly.",
        unit="percent",
        ceiling=100,
        lines=each("DCGM_FI_DEV_GPU_UTIL", "GPU {{gpu}}"),
    ),
    Panel(
        title="Memory busy",
        about="Share of time in which memory was read or written.",
        unit="percent",
        ceiling=100,
        lines=each("DCGM_FI_DEV_MEM_COPY_UTIL", "GPU {{gpu}}"),
    ),
    Panel(
        title="Memory used",
        about="Of the card, whoever uses it.",
        unit="percentunit",
        ceiling=1,
        lines=each("DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)", "GPU {{gpu}}"),
    ),
)

HEALTH = (
    Panel(
        title="Temperature",
        about="Clocks fall when it gets too hot.",
        unit="celsius",
        lines=each("DCGM_FI_DEV_GPU_TEMP", "{{gpu}}"),
    ),
    Panel(title="Power", about="Drawn now.", unit="watt", lines=each("DCGM_FI_DEV_POWER_USAGE", "GPU {{gpu}}")),
    Panel(
        title="Clock",
        about="Of the multiprocessors; lower than usual under load means power or heat.",
        unit="hertz",
        lines=each("DCGM_FI_DEV_SM_CLOCK * 1e6", "GPU {{gpu}}"),
    ),
    Panel(
        title="Errors",
        about="The last XID, and rows of memory that could not be remapped: both should be 0.",
        lines=(*each("DCGM_FI_DEV_XID_ERRORS", "XID {{gpu}}"), *each("DCGM_FI_DEV_ROW_REMAP_FAILURE", "remap {{gpu}}")),
    ),
)

SERVICE = (
    Panel(
        title="Memory as the service sees it",
        about="What an engine's device holds, by kind.",
        unit="bytes",
        lines=each("sum by (instance, device, kind) (drlongformer_device_memory_bytes)", "{{instance}} {{device}} {{kind}}"),
    ),
    Panel(
        title="Tokens a joule",
        about="Of all cards and replicas together.",
        lines=lines(tokens="sum(rate(drlongformer_batch_tokens_sum[$__rate_interval])) / sum(DCGM_FI_DEV_POWER_USAGE)"),
    ),
)

ROWS = (("Use", USE), ("Health", HEALTH), ("Service", SERVICE))
