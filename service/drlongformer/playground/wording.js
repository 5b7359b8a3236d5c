/* What the page says, in French or English (french.js, english.js). A language is chosen from the browser's own list, and by a click; the choice is
   kept in `<html lang>` alone.

   Elements of the page carry `data-say="key"`, or `data-say-aria-label="key"` for an attribute. */

import { EN } from "./english.js";
import { FR } from "./french.js";

export const WORDING = { fr: FR, en: EN };

/** The language that is spoken. */
export const language = () => document.documentElement.lang;

/** A sentence in the language that is spoken; numbers among its figures are written as they are there. Throws for a key that is
    in no list. */
export function say(key, figures = {}) {
  const found = WORDING[language()][key];
  if (found === undefined) throw new RangeError(`no wording for ${key}`);
  return typeof found === "string" ? found : found(figures);
}

const formats = new Map();

/** A number as the language writes it. */
export function number(value, digits = 0) {
  const key = `${language()} ${digits}`;
  if (!formats.has(key)) {
    const manner = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    formats.set(key, new Intl.NumberFormat(language(), manner));
  }
  return formats.get(key).format(value);
}

/** The first of the browser's languages that the page speaks; else French. */
export function preferred(languages = navigator.languages) {
  return languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in WORDING) ?? "fr";
}

/** Speaks a language: in `<html lang>`, and in every element that says something fixed. */
export function speak(tag) {
  document.documentElement.lang = tag;
  document.title = say("title");
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const name of ["aria-label", "placeholder"]) {
    for (const element of document.querySelectorAll(`[data-say-${name}]`)) {
      element.setAttribute(name, say(element.getAttribute(`data-say-${name}`)));
    }
  }
}
