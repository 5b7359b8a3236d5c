/* How long a request may take. Nobody knows before it is answered: it is told as an estimate, and never as done.

   The estimate is the speed of the last answer of the same model, by its `Server-Timing`; before there is one, the engine's speed of
   late. What waits in the service's queue comes on top. The latter two stand in `/metrics`, where the page may read that. */

import { by } from "./dom.js";
import { parse, sum } from "./prometheus.js";
import { stages } from "./service.js";
import { number, say } from "./wording.js";

const TICK_MILLISECONDS = 200;
const LONG_TOKENS = 4096; // shorter texts are answered before an estimate of theirs could be read
const LEAST_LEARNT = 512; // what a shorter answer took says little about a long one
const MOST_SHARE = 0.97;

export class Progress {
  #secondsPerToken = new Map(); // by model

  /** Learns from an answer: its `Server-Timing`, and the tokens it was about. */
  learn(model, timing, tokens) {
    const spent = Object.fromEntries(stages(timing).map(({ name, milliseconds }) => [name, milliseconds]));
    const seconds = ((spent.total ?? 0) - (spent.queue ?? 0)) / 1000;
    if (tokens >= LEAST_LEARNT && seconds > 0) this.#secondsPerToken.set(model, seconds / tokens);
  }

  /** Seconds that so many tokens may take; undefined where nothing is known. `metrics()` gives the page of metrics, or null. */
  async expected(model, tokens, metrics) {
    const known = this.#secondsPerToken.get(model);
    const told = tokens > LONG_TOKENS ? await metrics() : null;
    const page = told === null ? new Map() : parse(told);
    const speed = sum(page, "drlongformer_engine_tokens_per_second");
    const waiting = sum(page, "drlongformer_queue_tokens");
    return estimate({ tokens, known, speed, waiting });
  }

  /** Shows that a request goes on, and can be cancelled, until the function that is given back is called. `coming` is a promise of
      `expected`. */
  show(coming) {
    const began = performance.now();
    let expected;
    const tick = () => draw({ seconds: (performance.now() - began) / 1000, expected });
    coming.then((seconds) => (expected = seconds));
    tick();
    busy(true);
    const timer = setInterval(tick, TICK_MILLISECONDS);
    return () => {
      clearInterval(timer);
      busy(false);
    };
  }
}

function busy(on) {
  by("going").hidden = by("cancel").hidden = !on;
  by("run").disabled = on;
  if (on) by("results").setAttribute("aria-busy", "true");
  else by("results").removeAttribute("aria-busy");
}

/** Seconds for tokens, those that wait before them included; `known` is seconds for each of them, `speed` the engine's tokens a
    second. Undefined where neither is known. */
export function estimate({ tokens, known, speed, waiting }) {
  const own = known ?? (speed > 0 ? 1 / speed : undefined);
  if (own === undefined) return undefined;
  return tokens * own + waiting * (speed > 0 ? 1 / speed : own);
}

/** What is shown after so many seconds: `{share, key}`. Without an estimate, or past it, no share is told; it never is the whole. */
export function shown({ seconds, expected }) {
  if (!expected) return { key: "running" };
  if (seconds >= expected) return { key: "running_past" };
  return { key: "running_of", share: Math.min(MOST_SHARE, seconds / expected) };
}

function draw({ seconds, expected }) {
  const { key, share } = shown({ seconds, expected });
  if (share === undefined) by("progress").removeAttribute("value");
  else by("progress").value = share;
  by("progress-told").textContent = say(key, { seconds: number(seconds, 1), expected: number(expected ?? 0, 1) });
}
