/* What a request cost and how to send it again: bars of its stages, a program in three languages, and the answer as it came. */

import { bars } from "./charts.js";
import { copyButton } from "./copying.js";
import { el } from "./dom.js";
import { foldedJson } from "./json_view.js";
import { stages } from "./service.js";
import { LANGUAGES, snippet } from "./snippets.js";
import { number, say } from "./wording.js";

let chosen = "curl";

/** Elements for one request that was answered: its `Server-Timing`, its address and body, whether a key went with it, and the
    answer, null where that is shown elsewhere. */
export function trace({ timing, url, body, keyed, answer }) {
  const repeated = [el("h3", {}, say("repeat")), ...programs({ url, body, keyed })];
  return [el("h3", {}, say("timing")), times(timing), ...repeated, ...(answer ? [foldedJson(answer)] : [])];
}

function times(timing) {
  const told = stages(timing);
  const longest = Math.max(...told.map((each) => each.milliseconds), 1e-9);
  return bars(
    told.map(({ name, milliseconds }) => ({
      label: say(`stage-${name}`),
      share: milliseconds / longest,
      told: say("milliseconds", { n: number(milliseconds, milliseconds < 10 ? 2 : 0) }),
      second: name === "total",
    })),
  );
}

function programs(request) {
  const code = el("code", { id: "snippet" });
  const shown = el("pre", { tabindex: "0", "aria-label": say("repeat") }, code);
  const copy = copyButton(() => code.textContent);
  const buttons = Object.entries(LANGUAGES).map(([language, name]) =>
    el("button", { type: "button", "data-language": language, onclick: () => choose(language) }, name),
  );
  const choose = (language) => {
    chosen = language;
    code.textContent = snippet(language, request);
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.language === language));
  };
  choose(chosen);
  return [el("div", { class: "row", role: "group", "aria-label": say("repeat") }, buttons, copy), shown];
}
