/* The playground: which task, asked of which model; one request at a time, that can be cancelled; and what came of it. */

import { Kept } from "./annotations.js";
import { asked, request, route, TASKS, titles } from "./asking.js";
import { classes } from "./classes.js";
import { by, el } from "./dom.js";
import { Entities } from "./entities.js";
import { Input } from "./input.js";
import { likeness } from "./likeness.js";
import { candidates, clickable } from "./masks.js";
import { told } from "./problems.js";
import { trace } from "./trace.js";
import { wordAt } from "./text.js";
import { decoded } from "./vectors.js";
import { number, say } from "./wording.js";

const UNITS = ["sections", "paragraphs", "sentences", "documents"];
const TICK_MILLISECONDS = 200;

export class Play {
  #models = [];
  #task = "ner";
  #collected = []; // documents to compare: [{name, text}]
  #kept = new Kept();
  #running; // the AbortController of the request in progress
  #drawing = new AbortController(); // of what is drawn of the last answer
  #secondsPerToken; // learnt from the last answer, for progress
  #last; // the last answer that was shown
  #problem; // the last error that was told
  #original; // the word that was masked last

  /** `locked(error)` is told of refusals for want of a key. */
  constructor(service, locked) {
    this.service = service;
    this.locked = locked;
    this.input = new Input({
      count: (text, signal) => this.#count(text, signal),
      limits: () => this.#model()?.limits,
      opened: (documents) => this.#compare(documents),
    });
    this.input.onchange(() => this.#textChanged());
    by("run").addEventListener("click", () => this.run());
    by("cancel").addEventListener("click", () => this.#running?.abort());
    by("collect").addEventListener("click", () => this.#collect());
    by("mask-word").addEventListener("click", () => this.#maskAtCursor());
    by("model").addEventListener("change", () => this.#offer());
    by("text").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.run();
    });
    this.speak();
  }

  /** Asks which models there are. Tells `locked` where a key is needed. */
  async start() {
    try {
      const { models } = await (await this.service.get("models")).json();
      const details = models.map((model) => this.service.get(`models/${encodeURIComponent(`${model.name}:${model.version}`)}`));
      this.#models = await Promise.all((await Promise.all(details)).map((response) => response.json()));
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#offer();
    this.input.recount();
  }

  /** Writes everything that depends on the language. */
  speak() {
    const radio = (task) => {
      const choose = () => {
        this.#task = task;
        this.#offer();
      };
      const input = el("input", { type: "radio", name: "task", value: task, onchange: choose });
      input.checked = task === this.#task;
      return el("label", {}, input, " ", say(`task-${task}`));
    };
    by("tasks").replaceChildren(el("legend", {}, say("task")), ...TASKS.map(radio));
    const unit = by("unit").value || UNITS[0];
    by("unit").replaceChildren(...UNITS.map((each) => el("option", { value: each }, say(`unit-${each}`))));
    by("unit").value = unit;
    by("unit").onchange = () => this.#offer();
    this.input.speak();
    this.#offer();
    if (this.#last) this.#show();
    else if (!this.#problem) by("answer").replaceChildren(el("p", { class: "hint" }, say("nothing_yet")));
    if (this.#problem) this.#fail(this.#problem);
  }

  /** The models that have something of the chosen task. */
  #able() {
    return this.#models.filter((model) => asked(this.#task, model).length);
  }

  #model() {
    const able = this.#able();
    return able.find((model) => `${model.name}:${model.version}` === by("model").value) ?? able[0];
  }

  /** Shows the options that the task has. */
  #offer() {
    const able = this.#able();
    const chosen = this.#model();
    options(
      "model",
      able.map((model) => `${model.name}:${model.version}`),
      chosen && `${chosen.name}:${chosen.version}`,
    );
    const task = this.#task === "all" ? "ner" : this.#task;
    const heads = ["ner", "classify"].includes(task) ? (chosen?.heads ?? []).filter((head) => head.task === task) : [];
    options(
      "head",
      heads.map((head) => head.name),
      by("head").value,
    );
    const embeds = ["embed", "all"].includes(this.#task);
    by("unit-of").hidden = !embeds;
    const several = this.#task === "embed" && by("unit").value === "documents";
    for (const option of by("unit").options) option.disabled = option.value === "documents" && this.#task === "all";
    if (this.#task === "all" && by("unit").value === "documents") by("unit").value = UNITS[0];
    by("collect").hidden = !several;
    by("collected").hidden = !several;
    by("mask-word").hidden = this.#task !== "fill-mask";
    this.#listCollected();
    if (this.#task === "fill-mask" && !this.#running) this.#offerWords();
  }

  // --- documents to compare -----------------------------------------------------------------------------------------------

  #collect() {
    if (!this.input.text.trim()) return;
    const name = this.input.name ?? say("document-n", { n: this.#collected.length + 1 });
    this.#collected.push({ name, text: this.input.text });
    this.#listCollected();
  }

  #compare(documents) {
    this.#collected.push(...documents);
    this.#task = "embed";
    by("unit").value = "documents";
    this.speak();
  }

  #listCollected() {
    const chip = ({ name }, place) => {
      const remove = () => {
        this.#collected.splice(place, 1);
        this.#listCollected();
      };
      return el("li", {}, name, el("button", { type: "button", "aria-label": say("remove", { name }), onclick: remove }, "✕"));
    };
    by("collected").replaceChildren(
      el("p", { class: "hint" }, `${say("collected")} (${this.#collected.length})`),
      el("ul", { class: "chips" }, this.#collected.map(chip)),
    );
  }

  // --- asking -------------------------------------------------------------------------------------------------------------

  async #count(text, signal) {
    if (!this.#models.length) return null;
    const model = this.#model() ?? this.#models[0];
    const named = this.#models.length > 1 ? { model: `${model.name}:${model.version}` } : {};
    try {
      const answer = await (await this.service.post("tokenize", { inputs: text, ...named }, { signal })).json();
      return answer.results[0];
    } catch {
      return null; // the estimate stands; what is wrong is told when the text is asked about
    }
  }

  /** Sends what was chosen, and shows what comes back. */
  async run() {
    if (this.#running) return;
    const model = this.#model();
    this.#clear();
    if (!model) {
      announce(say("no_task"));
      return;
    }
    const several = this.#task === "embed" && by("unit").value === "documents";
    if (several && this.#collected.length < 2) {
      announce(say("two_needed"));
      return;
    }
    const [task, text, documents] = [this.#task, this.input.text, [...this.#collected]];
    const head = by("head-of").hidden || by("head").selectedIndex === 0 ? null : by("head").value;
    const { body } = request({
      task,
      text,
      head,
      documents,
      unit: by("unit").value,
      named: this.#able().length > 1,
      model: { ...model, name: `${model.name}:${model.version}` },
    });
    await this.#send({ task, text, documents: several ? documents : null, body });
  }

  async #send(asked) {
    const path = route(asked.task);
    this.#running = new AbortController();
    const began = performance.now();
    const stop = this.#progress(asked, began);
    try {
      const response = await this.service.post(path, asked.body, { signal: this.#running.signal });
      const answer = await response.json();
      const seconds = (performance.now() - began) / 1000;
      this.#secondsPerToken = seconds / Math.max(1, answer.usage.tokens);
      const sent = { url: this.service.url(path), body: asked.body, keyed: this.service.keyed("infer") };
      this.#last = { ...asked, answer, seconds, trace: { ...sent, timing: response.headers.get("Server-Timing") } };
      this.#view = undefined;
      this.#show();
    } catch (error) {
      if (error.name === "AbortError") announce(say("cancelled"));
      else this.#fail(error);
    } finally {
      this.#running = undefined;
      stop();
    }
  }

  /** Tells how long the request has been going, and of how much where the last answer lets that be guessed. */
  #progress({ body }, began) {
    const length = [body.inputs].flat().reduce((total, each) => total + each.length, 0);
    const expected = this.#secondsPerToken && (this.#secondsPerToken * length) / 3.1;
    const tick = () => {
      const seconds = (performance.now() - began) / 1000;
      const share = expected ? Math.min(0.97, seconds / expected) : undefined;
      if (share === undefined) by("progress").removeAttribute("value");
      else by("progress").value = share;
      const told = expected && seconds < expected ? "running_of" : "running";
      by("progress-told").textContent = say(told, { seconds: number(seconds, 1), expected: number(expected ?? 0, 1) });
    };
    tick();
    const timer = setInterval(tick, TICK_MILLISECONDS);
    by("going").hidden = by("cancel").hidden = false;
    by("run").disabled = true;
    by("results").setAttribute("aria-busy", "true");
    return () => {
      clearInterval(timer);
      by("going").hidden = by("cancel").hidden = true;
      by("run").disabled = false;
      by("results").removeAttribute("aria-busy");
    };
  }

  #clear() {
    this.#problem = undefined;
    by("problem").hidden = true;
    announce("");
  }

  #fail(error) {
    const { sentence, detail } = told(error);
    if (error.status === 401) {
      this.locked(error);
      return;
    }
    this.#problem = error;
    const more = detail && el("details", {}, el("summary", {}, say("details_server")), el("p", { lang: "en" }, detail));
    by("problem").replaceChildren(el("p", {}, sentence), more || "");
    by("problem").hidden = false;
  }

  // --- showing ------------------------------------------------------------------------------------------------------------

  #view; // of the entities of the last answer; it holds the verdicts

  #show() {
    const { task, text, documents, answer, seconds, trace: sent } = this.#last;
    this.#drawing.abort();
    this.#drawing = new AbortController();
    const result = answer.results[0];
    const shown = [];
    if (result.entities) {
      this.#view ??= new Entities({ text, entities: result.entities, answer, kept: this.#kept });
      shown.push(this.#view.element());
    }
    if (result.labels) shown.push(classes(result.labels));
    if (result.masks) shown.push(this.#masks(text, result.masks));
    if (documents) shown.push(likeness(documents.map(({ name }, place) => part(name, answer.results[place]))));
    else if (result.chunks) {
      const named = titles(text, result.chunks);
      shown.push(likeness(result.chunks.map((chunk, place) => part(named[place], chunk))));
    }
    by("answer").replaceChildren(...shown);
    by("answer").dataset.task = task;
    by("trace").replaceChildren(...trace(sent));
    const windows = answer.results.reduce((total, each) => total + (each.windows ?? 1), 0);
    announce(say("done", { seconds: number(seconds, 2), tokens: number(answer.usage.tokens), windows }));
  }

  #masks(text, masks) {
    const put = (start, end, word) => {
      this.input.replace(start, end, word);
      this.#offerWords();
      by("text").focus();
    };
    const found = candidates({ text, masks, original: this.#original, put });
    found.append(this.#words(text));
    return found;
  }

  // --- masking ------------------------------------------------------------------------------------------------------------

  #words(text) {
    const { signal } = this.#drawing;
    return clickable({ text, mask: this.#model()?.mask_token ?? "", chosen: (start, end) => this.#mask(start, end), signal });
  }

  /** Shows the text with words to click, in place of an answer that it has left behind. */
  #offerWords() {
    if (this.#last?.task === "fill-mask" && this.#last.text === this.input.text) return;
    this.#drawing.abort();
    this.#drawing = new AbortController();
    this.#last = undefined;
    by("trace").replaceChildren();
    by("answer").replaceChildren(this.#words(this.input.text));
  }

  #textChanged() {
    if (this.#task === "fill-mask" && !this.#running) this.#offerWords();
  }

  #maskAtCursor() {
    const word = wordAt(this.input.text, this.input.cursor, this.#model()?.mask_token);
    if (word && !word.mask) this.#mask(word.start, word.end);
  }

  #mask(start, end) {
    if (this.#running || !this.#model()) return;
    this.#original = { start, word: this.input.text.slice(start, end) };
    this.input.replace(start, end, this.#model().mask_token);
    this.run();
  }
}

function part(title, { embedding }) {
  return { title, vector: decoded(embedding) };
}

function announce(sentence) {
  by("announced").textContent = sentence;
}

/** Fills a select, and hides it where there is nothing to choose. */
function options(id, names, chosen) {
  by(id).replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  if (names.includes(chosen)) by(id).value = chosen;
  by(`${id}-of`).hidden = names.length < 2;
}
