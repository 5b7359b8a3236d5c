/* The playground: which task, asked of which model; one request at a time, that can be cancelled; and what came of it. */

import { Kept } from "./annotations.js";
import { drawn } from "./answers.js";
import { HEADED, request, route, size, TASKS } from "./asking.js";
import { Beside } from "./beside.js";
import { Collection } from "./collection.js";
import { by, el, options } from "./dom.js";
import { Entities } from "./entities.js";
import { Input } from "./input.js";
import { Masking } from "./masking.js";
import { answering, Models, nameOf, types } from "./models.js";
import { told } from "./problems.js";
import { Progress } from "./progress.js";
import { trace } from "./trace.js";
import { number, say } from "./wording.js";

const UNITS = ["sections", "paragraphs", "sentences", "documents"];
const LONG = 20_000; // units of a text whose words are not drawn anew at every key
const PAUSE_MILLISECONDS = 400;

export class Play {
  #models;
  #task = "ner";
  #collected = new Collection(); // documents to compare
  #progress = new Progress();
  #kept = new Kept();
  #running; // the AbortController of the request in progress
  #drawing = new AbortController(); // of what is drawn of the last answer
  #last; // the last answer that was shown
  #problem; // the last error that was told
  #left; // whether something was asked since that has no answer
  #pause; // the timer after which words are drawn

  /** `locked(error)` is told of refusals for want of a key. */
  constructor(service, locked) {
    this.service = service;
    this.locked = locked;
    this.#models = new Models(service);
    this.input = new Input({
      count: (text, signal) => this.#count(text, signal),
      limits: () => this.#model()?.limits,
      opened: (documents) => this.#compare(documents),
    });
    this.beside = new Beside((text, others) => this.input.put(text, others));
    this.masking = new Masking({
      input: this.input,
      model: () => this.#model(),
      busy: () => Boolean(this.#running),
      ask: () => this.run(),
      filled: () => this.#offerWords(),
    });
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

  /** Asks which models there are, and tells whether they are known now. Tells `locked` where a key is needed. */
  async start() {
    try {
      await this.#models.ask();
    } catch (error) {
      this.#fail(error);
      return false;
    }
    this.#clear();
    this.speak();
    this.input.recount();
    return true;
  }

  /** Whether there are verdicts that no exported file holds. */
  get unsaved() {
    return this.#kept.unsaved;
  }

  /** Forgets the models, every text and everything that came of them. */
  forget() {
    this.#running?.abort();
    for (const each of [this.#models, this.#kept, this.#collected, this.beside, this.masking]) each.forget();
    this.#last = this.#view = undefined;
    this.input.forget();
    this.#drawing.abort();
    by("trace").replaceChildren();
    this.#clear();
    this.speak();
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
    return task === this.#task || !this.#models.known || this.#models.able(task).length > 0;
  }

  #model() {
    return this.#models.chosen(this.#task, by("model").value);
  }

  /** Shows the options that the task has. */
  #offer() {
    const chosen = this.#model();
    options(
      "model",
      this.#models.able(this.#task).map(nameOf),
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
    const model = this.#model() ?? this.#models.first;
    if (!model) return null;
    const named = this.#models.several ? { model: nameOf(model) } : {};
    try {
      const body = { inputs: text, return_tokens: false, ...named };
      const { results, usage } = await (await this.service.post("tokenize", body, { signal })).json();
      return { count: usage.tokens, windows: results[0].windows };
    } catch {
      return null; // the estimate stands; what is wrong is told when the text is asked about
    }
  }

  /** Sends what was chosen, and shows what comes back. */
  async run() {
    if (!this.#models.known && !(await this.start())) return;
    if (this.#running) return;
    const model = this.#model();
    const several = this.#task === "embed" && by("unit").value === "documents";
    this.#clear();
    const missing = model ? this.#missing(several) : "no_task";
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
      named: this.#models.able(this.#task).length > 1,
      model: { ...model, name: nameOf(model) },
    });
    await this.#send({ task, text, documents: several ? documents : null, beside, model, head, body });
  }

  /** The key of the sentence that tells what is to be written before this can be asked; undefined where nothing is. */
  #missing(several) {
    if (several && this.#collected.size < 2) return "two_needed";
    if (this.#task === "fill-mask" && this.input.text.trim() && !this.masking.some) return "mask_needed";
    return this.beside.missing;
  }

  async #send(asked) {
    const path = route(asked.task);
    this.#running = new AbortController();
    const { signal } = this.#running;
    const began = performance.now();
    const tokens = this.input.tokens(size(asked.body.inputs));
    const coming = this.#progress.expected(nameOf(asked.model), tokens, () => this.service.metrics(signal));
    const stop = this.#progress.show(coming);
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

  #clear() {
    this.#problem = undefined;
    by("problem").hidden = true;
    this.#left = false;
    this.#age();
    announce("");
  }

  /** Tells whether the answer that is shown is of before: of another text, or what was asked since has no answer. */
  #age() {
    const other = this.#last && !this.#last.documents && this.#last.text !== this.input.text;
    by("stale").hidden = !(this.#last && (this.#left || other));
  }

  /** Tells why there is no answer; one before it stays where it is, verdicts and all, and is told to be of before. */
  #unanswered(sentence) {
    announce(sentence);
    this.#left = true;
    this.#age();
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
    this.#age();
    const masked = (text, masks) => this.masking.found(text, masks, this.#drawing.signal);
    by("answer").replaceChildren(...drawn(this.#last, { entities: () => this.#entities(this.#last), masked }));
    by("answer").dataset.task = task;
    by("trace").replaceChildren(...trace({ ...sent, answer: this.#view ? null : answer }));
    const windows = answer.results.reduce((total, each) => total + (each.windows ?? 1), 0);
    announce(say("done", { seconds: number(seconds, 2), tokens: number(answer.usage.tokens), windows }));
  }

  #entities({ text, model, head, answer }) {
    this.#view ??= new Entities({
      text,
      entities: answer.results[0].entities,
      answer,
      kept: this.#kept,
      model: nameOf(answer.model),
      head: answering(model, "ner", head),
      types: types(model),
      reopen: (judged) => this.#reopen(judged),
    });
    return this.#view.element();
  }

  /** Asks again for the entities of a document that was judged in part. */
  #reopen({ text, model, head }) {
    this.#task = "ner";
    this.input.put(text);
    this.speak();
    for (const [id, value] of [["model", model], ["head", head]]) {
      by(id).value = value;
      this.#offer();
    }
    this.run();
  }

  // --- masking ------------------------------------------------------------------------------------------------------------

  /** Shows the text with words to click, in place of an answer that it has left behind. */
  #offerWords() {
    if (this.#last?.task === "fill-mask" && this.#last.text === this.input.text) return;
    this.#drawing.abort();
    this.#drawing = new AbortController();
    this.#last = undefined;
    this.#age();
    by("trace").replaceChildren();
    by("answer").replaceChildren(this.masking.words(this.input.text, this.#drawing.signal));
  }

  #textChanged() {
    this.#age();
    clearTimeout(this.#pause);
    const offer = () => this.#task === "fill-mask" && !this.#running && this.#offerWords();
    if (this.input.text.length > LONG) this.#pause = setTimeout(offer, PAUSE_MILLISECONDS);
    else offer();
  }

  #maskAtCursor() {
    if (!this.masking.atCursor()) announce(say("no_word"));
  }
}

function announce(sentence) {
  by("announced").textContent = sentence;
}
