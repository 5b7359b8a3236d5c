/* A button that copies a text. */

import { el } from "./dom.js";
import { say } from "./wording.js";

const TOLD_MILLISECONDS = 1500;

/** The button; null where the browser lets no page write to its clipboard (plain HTTP from another machine). */
export function copyButton(text) {
  if (!navigator.clipboard) return null;
  const button = el("button", { type: "button" }, say("copy"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    button.textContent = say("copied");
    setTimeout(() => (button.textContent = say("copy")), TOLD_MILLISECONDS);
  });
  return button;
}
