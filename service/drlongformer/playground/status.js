/* What operators look at, drawn live from `/metrics`: queue, speed, latency by length, padding, models. Nothing is kept. */

import { bars, lines } from "./charts.js";
import { el } from "./dom.js";
import { told } from "./problems.js";
import { between, buckets, parse, rate, since, sum, values, without } from "./prometheus.js";
import { number, say } from "./wording.js";

const EVERY_MILLISECONDS = 2000;
const MOST_READINGS = 150;
const MOST_BETWEEN = 6;
const LENGTHS = ["le512", "le1024", "le2048", "le4096", "gt4096"];
const name = (metric) => `drlongformer_${metric}`;

/** The figures of the charts, from one reading of the page of metrics and one some seconds before it.

    Batches count when they end, so that a long one may seem to have taken more time than there was. */
export function figures(now, before, seconds) {
  const grown = (metric) => rate(sum(now, name(metric)), before ? sum(before, name(metric)) : 0, before ? seconds : 0);
  const slots = grown("token_slots_total");
  const engines = Math.max(1, values(now, name("engine_busy_seconds_total"), "device").length);
  return {
    interactive: sum(now, name("queue_tokens"), { priority: "interactive" }),
    bulk: sum(now, name("queue_tokens"), { priority: "bulk" }),
    speed: slots - grown("padding_slots_total"),
    requests: grown("http_requests_total"),
    padding: slots ? grown("padding_slots_total") / slots : NaN,
    busy: Math.min(1, grown("engine_busy_seconds_total") / engines),
    inflight: sum(now, name("inflight_documents")),
  };
}

/** Between which bounds median and 95th percentile of a document's time lie, by its class of length: `[{length, documents, half,
    most}]`, of what came since the first reading, or of everything where nothing did. */
export function latencies(now, first) {
  const metric = name("document_duration_seconds");
  const read = [now, first].map((page) => without(page, "task", "tokenize")); // the page itself asks that, and no engine answers
  const counted = (page, length) => buckets(page, metric, { length });
  const fresh = LENGTHS.map((length) => since(...read.map((page) => counted(page, length))));
  const some = fresh.some((each) => each.at(-1)?.count);
  const shown = some ? fresh : LENGTHS.map((length) => counted(read[0], length));
  return shown
    .map((each, place) => ({
      length: LENGTHS[place],
      documents: each.at(-1)?.count ?? 0,
      half: between(0.5, each),
      most: between(0.95, each),
    }))
    .filter((each) => each.documents);
}

export class Status {
  #first; // the page that was read first
  #readings = []; // the last of them, [{at, page, time}], oldest first: rates are those between its ends
  #rows = []; // figures, one a reading
  #timer;

  /** `locked(error)` is told of refusals for want of a key with the scope. */
  constructor(service, root, locked) {
    Object.assign(this, { service, root, locked });
    document.addEventListener("visibilitychange", () => this.#timer && this.#read());
  }

  /** Reads every two seconds, as long as the page is seen. */
  start() {
    if (this.#timer) return;
    this.#timer = setInterval(() => this.#read(), EVERY_MILLISECONDS);
    this.#read();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Writes it in the language that is spoken now. */
  speak() {
    if (this.#readings.length) this.#draw();
  }

  async #read() {
    if (document.hidden) return;
    try {
      const response = await this.service.get("metrics", { scope: "metrics" });
      const page = parse(await response.text());
      if (this.#timer) this.#take(page);
    } catch (error) {
      this.stop();
      if ([401, 403].includes(error.status)) this.locked(error);
      else this.root.replaceChildren(el("p", { class: "problem", role: "alert" }, told(error).sentence));
    }
  }

  #take(page) {
    this.#first ??= page;
    this.#readings.push({ at: performance.now(), page, time: new Date() });
    this.#readings.splice(0, this.#readings.length - MOST_BETWEEN);
    const [before, now] = [this.#readings[0], this.#readings.at(-1)];
    this.#rows.push(figures(page, before === now ? undefined : before.page, (now.at - before.at) / 1000));
    this.#rows.splice(0, this.#rows.length - MOST_READINGS);
    this.#draw();
  }

  #draw() {
    const { page, time } = this.#readings.at(-1);
    const last = this.#rows.at(-1);
    const series = (key) => ({ name: key, values: this.#rows.map((row) => row[key]) });
    const chart = (key, keys, value, more = {}) =>
      lines({ title: say(`chart-${key}`), series: keys.map(series), told: value, ...more });
    const percent = (share) => (Number.isFinite(share) ? `${number(100 * share, 1)} %` : "–");
    const ready = sum(page, name("ready")) > 0;
    this.root.replaceChildren(
      el(
        "p",
        { class: "hint" },
        el("b", { id: "ready" }, say(ready ? "ready" : "not_ready")),
        ` · ${say("live", { time: time.toLocaleTimeString() })}`,
      ),
      el(
        "section",
        { class: "panel lines", "aria-label": say("status") },
        chart("queue", ["interactive", "bulk"], `${number(last.interactive)} + ${number(last.bulk)} ${say("bulk")}`),
        chart("speed", ["speed"], number(last.speed)),
        chart("requests", ["requests"], number(last.requests, 1)),
        chart("inflight", ["inflight"], number(last.inflight)),
        chart("padding", ["padding"], percent(last.padding), { top: 0.2 }),
        chart("busy", ["busy"], percent(last.busy), { top: 1 }),
      ),
      el("section", { class: "panel", id: "latency" }, el("h2", {}, say("chart-latency")), ...this.#latency(page)),
      el("section", { class: "panel", id: "served" }, el("h2", {}, say("models")), served(page)),
    );
  }

  #latency(page) {
    const found = latencies(page, this.#first);
    if (!found.length) return [el("p", {}, say("no_documents"))];
    const reach = ({ low, high }) => (Number.isFinite(high) ? high : low);
    const longest = Math.max(...found.map((each) => reach(each.most)));
    const row = (each, key) => ({
      label: `${say(`length-${each.length}`)}, ${say(key)} (${number(each.documents)})`,
      share: reach(each[key]) / longest,
      told: `${Number.isFinite(each[key].high) ? "≤" : ">"} ${seconds(reach(each[key]))}`,
      second: key === "most",
    });
    return [
      bars(found.flatMap((each) => [row(each, "half"), row(each, "most")])),
      el("p", { class: "hint" }, say("latency_note")),
    ];
  }
}

/** A bound of a histogram as it was written: 2,5 s, not 2,500 s. */
function seconds(bound) {
  return `${number(bound, String(bound).split(".")[1]?.length ?? 0)} s`;
}

function served(page) {
  const heads = ["name", "version", "precision", "device", "provider", "sha256"];
  const found = (page.get(name("model_info")) ?? []).filter((each) => each.value);
  const rows = found.map(({ labels }) =>
    el(
      "tr",
      {},
      heads.map((key) => el("td", {}, labels[key])),
    ),
  );
  const head = el(
    "tr",
    {},
    heads.map((key) => el("th", { scope: "col" }, say(key))),
  );
  const named = { class: "scroll", tabindex: "0", role: "group", "aria-label": say("models") };
  return el("div", named, el("table", {}, el("thead", {}, head), el("tbody", {}, rows)));
}
