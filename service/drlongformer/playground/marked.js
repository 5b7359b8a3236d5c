/* A text with its entities marked. It is one stop of the Tab key; arrows go from entity to entity, C and X judge, and a bubble
   beside the entity tells its type, score and place.

   Long texts are drawn run by run between other work of the browser; runs that are off the screen are not laid out at all. */

import { el, inBreaths } from "./dom.js";
import { verdictButtons } from "./entity_table.js";
import { pieces, runs } from "./text.js";
import { number, say } from "./wording.js";

const LINGER_MILLISECONDS = 250;

export class MarkedText {
  #marks = new Map(); // by the entity's place; filled as the text is drawn
  #visible;
  #drawing = new AbortController();
  #document;
  #bubble;
  #told; // the entity that the bubble tells of
  #leaving;

  constructor(view) {
    this.view = view;
    this.#visible = new Set(view.visible);
  }

  /** Stops drawing. */
  close() {
    this.#drawing.abort();
  }

  element() {
    this.#document = el("div", {
      class: "document",
      id: "document",
      role: "group",
      "aria-label": say("document_marked"),
      tabindex: "0",
      lang: "fr",
      translate: "no",
    });
    this.#bubble = el("div", { class: "bubble", id: "bubble", hidden: true });
    this.#listen();
    this.#draw();
    const hidden = this.view.spans.length - this.#drawn().length;
    return el(
      "div",
      {},
      el("p", { class: "hint" }, say("keys_help")),
      hidden > 0 && el("p", { class: "hint" }, say("overlapping", { n: hidden })),
      this.#document,
      this.#bubble,
    );
  }

  /** The spans that can be drawn: none begins before the end of the one before it. */
  #drawn() {
    return pieces(this.view.spans, 0, 0).flatMap((piece) => piece.span ?? []);
  }

  async #draw() {
    const { text } = this.view;
    const spans = this.#drawn();
    let next = 0;
    const draw = ([start, end]) => {
      const inside = [];
      while (next < spans.length && spans[next].start < end) inside.push(spans[next++]);
      const parts = pieces(inside, start, end).map((piece) =>
        piece.span ? this.#mark(piece.span) : text.slice(piece.start, piece.end),
      );
      this.#document.append(el("div", {}, parts));
    };
    await inBreaths(runs(text, spans), draw, { signal: this.#drawing.signal });
    if (!this.#drawing.signal.aborted) this.#document.dataset.drawn = "whole";
  }

  #mark(span) {
    const mark = el(
      "mark",
      {
        class: `entity hue-${this.view.hues.get(span.label)}`,
        role: "button",
        tabindex: "-1",
        "data-place": span.place,
        "data-label": span.label,
        "aria-describedby": "bubble",
      },
      this.view.text.slice(span.start, span.end),
    );
    this.#marks.set(span.place, mark);
    this.#dress(span.place);
    return mark;
  }

  /** Shows these entities alone. */
  filter(visible) {
    this.#visible = visible;
    for (const place of this.#marks.keys()) this.#dress(place);
  }

  /** Shows the verdict on one entity, or on all. */
  judged(place) {
    for (const each of place === undefined ? this.#marks.keys() : [place]) this.#dress(each);
  }

  #dress(place) {
    const mark = this.#marks.get(place);
    if (!mark) return;
    const verdict = this.view.verdict(place);
    const on = this.#visible.has(place);
    if (mark.dataset.shown === `${on} ${verdict}`) return; // a slider passes over thousands of them
    mark.dataset.shown = `${on} ${verdict}`;
    mark.classList.toggle("off", !on);
    mark.classList.toggle("correct", verdict === true);
    mark.classList.toggle("wrong", verdict === false);
    if (!on) {
      mark.removeAttribute("role");
      mark.removeAttribute("aria-label");
      return;
    }
    const { label, score, text } = this.view.entities[place];
    const judged = verdict === undefined ? "" : `, ${say(verdict ? "correct" : "wrong")}`;
    mark.setAttribute("role", "button");
    mark.setAttribute("aria-label", `${text}, ${label}, ${number(score, 2)}${judged}`);
  }

  #listen() {
    const over = (event) => event.target.closest?.(".entity:not(.off)");
    this.#document.addEventListener("pointerover", (event) => over(event) && this.#tell(over(event)));
    this.#document.addEventListener("focusin", (event) => over(event) && this.#tell(over(event)));
    this.#document.addEventListener("click", (event) => over(event)?.focus());
    this.#document.addEventListener("keydown", (event) => this.#key(event));
    this.#document.addEventListener("scroll", () => this.#follow());
    this.#document.addEventListener("pointerleave", () => this.#leave());
    this.#bubble.addEventListener("pointerleave", () => this.#leave());
    this.#bubble.addEventListener("pointerenter", () => clearTimeout(this.#leaving));
    this.#bubble.addEventListener("keydown", (event) => event.key === "Escape" && this.#hide());
  }

  #key(event) {
    const current = event.target.closest(".entity");
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const correct = { c: true, x: false }[event.key.toLowerCase()];
    if (event.key === "Escape") this.#hide();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (step) this.#step(current, step);
    else if (correct !== undefined && current) this.#judge(current, correct);
    else return;
    event.preventDefault();
  }

  #step(current, step) {
    const order = this.#drawn()
      .map((span) => span.place)
      .filter((place) => this.#visible.has(place) && this.#marks.has(place));
    if (!order.length) return;
    const at = current ? order.indexOf(Number(current.dataset.place)) : step > 0 ? -1 : order.length;
    const mark = this.#marks.get(order[Math.max(0, Math.min(order.length - 1, at + step))]);
    mark.focus();
    mark.scrollIntoView({ block: "nearest" });
  }

  #judge(mark, correct) {
    this.view.judge(Number(mark.dataset.place), correct);
    this.#tell(mark);
  }

  #tell(mark) {
    clearTimeout(this.#leaving);
    const place = Number(mark.dataset.place);
    const { label, score, text, start, end } = this.view.entities[place];
    this.#bubble.replaceChildren(
      el("p", {}, el("b", {}, label), ` · ${say("score")} ${number(score, 3)} · ${say("offsets", { start, end })}`),
      el("p", {}, text.length > 120 ? `${text.slice(0, 120)}…` : text),
      verdictButtons(this.view, place),
    );
    this.#bubble.hidden = false;
    this.#told = mark;
    this.#follow();
  }

  /** Puts the bubble below its entity, and away where that was scrolled out of sight. */
  #follow() {
    if (this.#bubble.hidden) return;
    const mark = this.#told;
    const [inside, at] = [this.#document.getBoundingClientRect(), mark.getBoundingClientRect()];
    if (at.bottom < inside.top || at.top > inside.bottom) {
      this.#hide();
      return;
    }
    const [around, box] = [this.#bubble.offsetParent.getBoundingClientRect(), mark.getClientRects()[0]];
    const left = Math.min(box.left - around.left, around.width - this.#bubble.offsetWidth - 8);
    this.#bubble.style.left = `${Math.max(4, left)}px`;
    this.#bubble.style.top = `${box.bottom - around.top + 2}px`;
  }

  #leave() {
    const focused = this.#document.contains(document.activeElement) || this.#bubble.contains(document.activeElement);
    if (!focused) this.#leaving = setTimeout(() => this.#hide(), LINGER_MILLISECONDS);
  }

  #hide() {
    this.#bubble.hidden = true;
  }
}
