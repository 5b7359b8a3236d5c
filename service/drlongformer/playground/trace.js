/* What a request cost and how to send it again: bars of its stages, and a program in three languages. */

import { bars } from "./charts.js";
import { el } from "./dom.js";
import { stages } from "./service.js";
import { LANGUAGES, snippet } from "./snippets.js";
import { number, say } from "./wording.js";

let chosen = "curl";

/** Elements for one request that was answered: its `Server-Timing`, its address and body, and whether a key went with it. */
export function trace({ timing, url, body, keyed }) {
  return [el("h3", {}, say("timing")), times(timing), el("h3", {}, say("repeat")), ...programs({ url, body, keyed })];
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

/** A button that copies a text; null where the browser lets no page write to its clipboard (plain HTTP from another machine). */
export function copyButton(text) {
  if (!navigator.clipboard) return null;
  const button = el("button", { type: "button" }, say("copy"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    button.textContent = say("copied");
    setTimeout(() => (button.textContent = say("copy")), 1500);
  });
  return button;
}
