"""How a panel of ours looks, in one place: graphs, figures of now, tables; built by Grafana's own SDK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
COLUMNS = 24
"""Grafana's grid is so many wide."""

Built = timeseries.Panel | stat.Panel | table.Panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One query (PromQL), and what its series are called (`{{label}}` is a label's value)."""

    query: str
    legend: str


def lines(**queries: str) -> tuple[Line, ...]:
    """Lines by their names, `_` standing for a space."""
    return tuple(Line(query=query, legend=name.replace("_", " ")) for name, query in queries.items())


def each(query: str, legend: str) -> tuple[Line, ...]:
    """A line for every value of labels."""
    return (Line(query=query, legend=legend),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What a panel asks and tells. `about`: how to read it. `kind`: graph, stat (now) or table (now)."""

    title: str
    about: str
    lines: Sequence[Line]
    unit: str = "short"
    kind: str = "graph"
    ceiling: float | None = None

    def built(self, width: int) -> Built:
        """As the SDK's builder, so wide in columns of the grid."""
        panel: Built
        match self.kind:
            case "graph":
                panel = _graph(self.ceiling)
            case "stat":
                panel = stat.Panel().height(4)
            case "table":
                panel = table.Panel().height(7)
            case _:
                raise ValueError(f"no panel of kind {self.kind!r}")
        panel.title(self.title).description(self.about).unit(self.unit).datasource(SOURCE).span(width)
        for place, line in enumerate(self.lines):
            panel.with_target(self._target(line, chr(ord("A") + place)))
        return panel

    def _target(self, line: Line, reference: str) -> prometheus.Dataquery:
        target = prometheus.Dataquery().expr(line.query).legend_format(line.legend).ref_id(reference)
        if self.kind == "table":
            target.format(PromQueryFormat.TABLE)
        return target.range() if self.kind == "graph" else target.instant()


def _graph(ceiling: float | None) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
    panel = timeseries.Panel().height(7).min(0).fill_opacity(10).legend(legend).tooltip(tooltip)
    return panel if ceiling is None else panel.max(ceiling)


def dashboard(*, uid: str, title: str, rows: Sequence[tuple[str, Sequence[Panel]]]) -> Dashboard:
    """Rows of panels that share the width."""
    made = Dashboard(title).uid(uid).tags(["drlongformer"]).readonly().refresh("30s").time("now-3h", "now").timezone("browser")
    for name, panels in rows:
        made.with_row(Row(name))
        for panel in panels:
            made.with_panel(panel.built(COLUMNS // len(panels)))
    return made
