/* The models that the service serves, with their heads and limits. The list may be asked for again, for it may have been refused:
   a quota, a key of another scope, a service that just starts. */

import { asked } from "./asking.js";

/** A model as requests name it. */
export const nameOf = ({ name, version }) => `${name}:${version}`;

export class Models {
  #list; // undefined until it came
  #coming;

  constructor(service) {
    this.service = service;
  }

  /** Whether the list came. */
  get known() {
    return this.#list !== undefined;
  }

  /** Asks for the list, once at a time. Throws what requests of the service throw; the list stays what it was then. */
  async ask() {
    this.#coming ??= this.#fetched().finally(() => (this.#coming = undefined));
    await this.#coming;
  }

  async #fetched() {
    const { models } = await (await this.service.get("models")).json();
    const details = models.map((model) => this.service.get(`models/${encodeURIComponent(nameOf(model))}`));
    this.#list = await Promise.all((await Promise.all(details)).map((response) => response.json()));
  }

  forget() {
    this.#list = undefined;
  }

  /** The models that have something of a task; none until they are known. */
  able(task) {
    return (this.#list ?? []).filter((model) => asked(task, model).length);
  }

  /** The model of a name that has something of a task, else the first that has. */
  chosen(task, name) {
    const able = this.able(task);
    return able.find((model) => nameOf(model) === name) ?? able[0];
  }

  /** The first model; undefined until it is known. */
  get first() {
    return this.#list?.[0];
  }

  /** Whether there is more than one. */
  get several() {
    return (this.#list ?? []).length > 1;
  }
}

/** The head that answers a task: the one that was asked for, else the model's first. */
export function answering(model, task, head) {
  return head ?? model.heads.find((each) => each.task === task)?.name;
}

/** Every type of entity that a model's heads name, in the order of their lists: `B-X` and `I-X` are of one type. */
export function types(model) {
  const labels = model.heads.filter((head) => head.task === "ner").flatMap((head) => head.labels);
  return [...new Set(labels.filter((label) => label !== "O").map((label) => label.replace(/^[BIESLU]-/, "")))];
}
