/* The playground: which task, asked of which model; one request at a time, that can be cancelled; and what came of it. */

import { Kept } from "./annotations.js";
import { asked, HEADED, request, route, size, TASKS, titles } from "./asking.js";
import { Beside } from "./beside.js";
import { classes } from "./classes.js";
import { Collection } from "./collection.js";
import { by, el } from "./dom.js";
import { Entities } from "./entities.js";
import { Input } from "./input.js";
import { likeness } from "./likeness.js";
import { candidates, clickable } from "./masks.js";
import { told } from "./problems.js";
import { Progress } from "./progress.js";
import { choices, comparisons } from "./scores.js";
import { trace } from "./trace.js";
import { wordAt } from "./text.js";
import { decoded } from "./vectors.js";
import { number, say } from "./wording.js";

const UNITS = ["sections", "paragraphs", "sentences", "documents"];
const LONG = 20_000; // units of a text whose words are not drawn anew at every key
const PAUSE_MILLISECONDS = 400;

export class Play {
  #models = [];
  #task = "ner";
  #collected = new Collection(); // documents to compare
  #progress = new Progress();
  #kept = new Kept();
  #running; // the AbortController of the request in progress
  #drawing = new AbortController(); // of what is drawn of the last answer
  #last; // the last answer that was shown
  #problem; // the last error that was told
  #original; // the word that was masked last
  #pause; // the timer after which words are drawn

  /** `locked(error)` is told of refusals for want of a key. */
  constructor(service, locked) {
    this.service = service;
    this.locked = locked;
    this.input = new Input({
      count: (text, signal) => this.#count(text, signal),
      limits: () => this.#model()?.limits,
      opened: (documents) => this.#compare(documents),
    });
    this.beside = new Beside((text) => this.input.put(text));
    this.input.onchange(() => this.#textChanged());
    by("run").addEventListener("click", () => this.run());
    by("cancel").addEventListener("click", () => this.#running?.abort());
    by("collect").addEventListener("click", () => this.#collect());
    by("mask-word").addEventListener("click", () => this.#maskAtCursor());
    by("model").addEventListener("change", () => this.#offer());
    by("asking").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.run();
    });
    this.speak();
  }

  /** Asks which models there are. Tells `locked` where a key is needed. */
  async start() {
    try {
      const { models } = await (await this.service.get("models")).json();
      const details = models.map((model) => this.service.get(`models/${encodeURIComponent(nameOf(model))}`));
      this.#models = await Promise.all((await Promise.all(details)).map((response) => response.json()));
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.speak();
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
    by("tasks").replaceChildren(el("legend", {}, say("task")), ...TASKS.filter((task) => this.#served(task)).map(radio));
    const unit = by("unit").value || UNITS[0];
    by("unit").replaceChildren(...UNITS.map((each) => el("option", { value: each }, say(`unit-${each}`))));
    by("unit").value = unit;
    by("unit").onchange = () => this.#offer();
    this.input.speak();
    this.beside.speak();
    this.#offer();
    if (this.#last) this.#show();
    else if (!this.#problem) by("answer").replaceChildren(el("p", { class: "hint" }, say("nothing_yet")));
    if (this.#problem) this.#fail(this.#problem);
  }

  /** Whether a model has something of a task; until the models are known, every task is shown. */
  #served(task) {
    return task === this.#task || !this.#models.length || this.#models.some((model) => asked(task, model).length);
  }

  /** The models that have something of the chosen task. */
  #able() {
    return this.#models.filter((model) => asked(this.#task, model).length);
  }

  #model() {
    const able = this.#able();
    return able.find((model) => nameOf(model) === by("model").value) ?? able[0];
  }

  /** Shows the options that the task has. */
  #offer() {
    const able = this.#able();
    const chosen = this.#model();
    options(
      "model",
      able.map(nameOf),
      chosen && nameOf(chosen),
    );
    const task = this.#task === "all" ? "ner" : this.#task;
    const heads = HEADED.includes(task) ? (chosen?.heads ?? []).filter((head) => head.task === task) : [];
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
    this.#collected.show();
    this.beside.show(this.#task, chosen);
    if (this.#task === "fill-mask" && !this.#running) this.#offerWords();
  }

  // --- documents to compare -----------------------------------------------------------------------------------------------

  #collect() {
    if (this.input.text.trim()) this.#collected.add({ name: this.input.name, text: this.input.text });
  }

  #compare(documents) {
    this.#collected.add(...documents);
    this.#task = "embed";
    by("unit").value = "documents";
    this.speak();
  }

  // --- asking -------------------------------------------------------------------------------------------------------------

  async #count(text, signal) {
    if (!this.#models.length) return null;
    const model = this.#model() ?? this.#models[0];
    const named = this.#models.length > 1 ? { model: nameOf(model) } : {};
    try {
      const body = { inputs: text, return_tokens: false, ...named };
      return (await (await this.service.post("tokenize", body, { signal })).json()).results[0];
    } catch {
      return null; // the estimate stands; what is wrong is told when the text is asked about
    }
  }

  /** Sends what was chosen, and shows what comes back. */
  async run() {
    if (this.#running) return;
    const model = this.#model();
    const several = this.#task === "embed" && by("unit").value === "documents";
    this.#clear();
    const missing = model ? (several && this.#collected.size < 2 ? "two_needed" : this.beside.missing) : "no_task";
    if (missing) {
      this.#unanswered(say(missing));
      return;
    }
    const [task, text, documents, beside] = [this.#task, this.input.text, this.#collected.documents, this.beside.asked];
    const head = by("head-of").hidden || by("head").selectedIndex === 0 ? null : by("head").value;
    const { body } = request({
      task,
      text,
      head,
      documents,
      beside,
      unit: by("unit").value,
      named: this.#able().length > 1,
      model: { ...model, name: nameOf(model) },
    });
    await this.#send({ task, text, documents: several ? documents : null, beside, model, head, body });
  }

  async #send(asked) {
    const path = route(asked.task);
    this.#running = new AbortController();
    const { signal } = this.#running;
    const began = performance.now();
    const stop = this.#going(asked, signal);
    try {
      const response = await this.service.post(path, asked.body, { signal });
      const answer = await response.json();
      const seconds = (performance.now() - began) / 1000;
      const timing = response.headers.get("Server-Timing");
      this.#progress.learn(nameOf(asked.model), timing, answer.usage.tokens);
      const sent = { url: this.service.url(path), body: asked.body, keyed: this.service.keyed("infer"), timing };
      this.#last = { ...asked, answer, seconds, sent };
      this.#view = undefined;
      this.#show();
    } catch (error) {
      if (error.name === "AbortError") this.#unanswered(say("cancelled"));
      else this.#fail(error);
    } finally {
      this.#running = undefined;
      stop();
    }
  }

  /** Shows that a request goes on, and can be cancelled, until the function that is given back is called. */
  #going({ body, model }, signal) {
    const tokens = this.input.tokens(size(body.inputs));
    const stop = this.#progress.show(this.#progress.expected(nameOf(model), tokens, () => this.service.metrics(signal)));
    by("cancel").hidden = false;
    by("run").disabled = true;
    by("results").setAttribute("aria-busy", "true");
    return () => {
      stop();
      by("cancel").hidden = true;
      by("run").disabled = false;
      by("results").removeAttribute("aria-busy");
    };
  }

  #clear() {
    this.#problem = undefined;
    by("problem").hidden = by("stale").hidden = true;
    announce("");
  }

  /** Tells why there is no answer; one before it stays where it is, verdicts and all, and is told to be of before. */
  #unanswered(sentence) {
    announce(sentence);
    by("stale").hidden = !this.#last;
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
    this.#unanswered("");
  }

  // --- showing ------------------------------------------------------------------------------------------------------------

  #view; // of the entities of the last answer; it holds the verdicts

  #show() {
    const { task, answer, seconds, sent } = this.#last;
    this.#drawing.abort();
    this.#drawing = new AbortController();
    by("answer").replaceChildren(...this.#shown(this.#last));
    by("answer").dataset.task = task;
    by("trace").replaceChildren(...trace({ ...sent, answer: this.#view ? null : answer }));
    const windows = answer.results.reduce((total, each) => total + (each.windows ?? 1), 0);
    announce(say("done", { seconds: number(seconds, 2), tokens: number(answer.usage.tokens), windows }));
  }

  /** Everything that an answer holds, one element each. */
  #shown({ text, documents, beside, model, head, answer }) {
    const [result] = answer.results;
    const shown = [];
    if (result.entities) {
      this.#view ??= new Entities({ text, entities: result.entities, answer, kept: this.#kept });
      shown.push(this.#view.element());
    }
    if (result.labels) shown.push(classes(result.labels));
    if (result.masks) shown.push(this.#masks(text, result.masks));
    if (result.method) shown.push(comparisons({ texts: beside.texts, results: answer.results, model, head }));
    if (result.choices) shown.push(choices({ ...beside, result }));
    if (documents) shown.push(likeness(documents.map(({ name }, place) => part(name, answer.results[place]))));
    else if (result.chunks) {
      const named = titles(text, result.chunks);
      shown.push(likeness(result.chunks.map((chunk, place) => part(named[place], chunk))));
    }
    return shown;
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
    const chosen = (start, end) => text === this.input.text && this.#mask(start, end); // else they are about to be drawn anew
    return clickable({ text, mask: this.#model()?.mask_token ?? "", chosen, signal });
  }

  /** Shows the text with words to click, in place of an answer that it has left behind. */
  #offerWords() {
    if (this.#last?.task === "fill-mask" && this.#last.text === this.input.text) return;
    this.#drawing.abort();
    this.#drawing = new AbortController();
    this.#last = undefined;
    by("stale").hidden = true;
    by("trace").replaceChildren();
    by("answer").replaceChildren(this.#words(this.input.text));
  }

  #textChanged() {
    clearTimeout(this.#pause);
    const offer = () => this.#task === "fill-mask" && !this.#running && this.#offerWords();
    if (this.input.text.length > LONG) this.#pause = setTimeout(offer, PAUSE_MILLISECONDS);
    else offer();
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

/** A model as requests name it. */
const nameOf = ({ name, version }) => `${name}:${version}`;

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
