"""The room from above: who talks to whom, and how much how fast."""

from collections import Counter

from quart import Blueprint, Response, request

from trio_relay.core.access import Scope
from trio_relay.core.wire import Agent
from trio_relay.relay.operations import agents, watching
from trio_relay.relay.series import MINUTE
from trio_relay.relay.web.dashboard import circle, plots
from trio_relay.relay.web.dashboard.asking import choice_asked
from trio_relay.relay.web.dashboard.frame import Frame, page, wants
from trio_relay.relay.web.dashboard.words import shown_name

#: Rows of the table beside the map.
ROWS = 200


def watch_pages(pages: Blueprint, frame: Frame) -> None:
    """The routes of the map and of the plots."""
    service = frame.service

    @pages.get("/map")
    @page(Scope.OBSERVE)
    async def room_map() -> Response:
        """Draw who has talked to whom in the last hour."""
        chosen = request.args.get("agent")
        traffic, drawn, names = None, None, {}
        if wants("map"):
            traffic = await service.read(watching.traffic, since=service.now() - 60 * MINUTE)
            names = _names(await service.read(agents.list_agents))
            drawn = circle.draw(traffic.talks, names, chosen=chosen)
        rows = [] if traffic is None else traffic.talks
        if chosen is not None:
            rows = [talk for talk in rows if chosen in (talk.sender, talk.recipient)]
        return await frame.show(
            "map.html",
            title="Who talks to whom",
            here="map",
            traffic=traffic,
            circle=drawn,
            names=names,
            rows=rows[:ROWS],
            more=max(0, len(rows) - ROWS),
            chosen=chosen,
        )

    @pages.get("/plots")
    @page(Scope.OBSERVE)
    async def room_plots() -> Response:
        """Plot throughput and latency of the last hour or day."""
        period = plots.PERIODS[choice_asked("of", plots.PERIODS, "hour")]
        now = service.now()
        series = service.metrics.series
        spans = series.hour() if period.name == "hour" else series.day()
        return await frame.show(
            "plots.html",
            title="Throughput and latency",
            here="plots",
            period=period,
            periods=plots.PERIODS,
            since=series.since,
            node=service.peers.name,
            several=service.settings.database_url is not None,
            sends=plots.counted(spans, lambda span: span.sends / period.step, now=now, unit="a minute"),
            polls=plots.counted(spans, lambda span: span.polls, now=now, unit="open"),
            in_context=plots.timed(spans, lambda span: span.in_context, now=now),
            answered=plots.timed(spans, lambda span: span.answered, now=now),
            requests=plots.timed(spans, lambda span: span.requests, now=now),
            rung_rows=plots.rungs(spans, now=now),
            table=plots.rows(spans, period.step),
        )


def _names(found: list[Agent]) -> dict[str, str]:
    """What agents are called; where two are called the same, by their ids."""
    names = {agent.id: shown_name(agent) for agent in found}
    called = Counter(names.values())
    return {agent_id: name if called[name] == 1 else agent_id for agent_id, name in names.items()}
