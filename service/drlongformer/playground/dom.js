/* Elements made in code. Text becomes text nodes and never markup, and the page's policy allows nothing else. */

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, properties of events (`onclick`) and children; what is null or false is left out. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for drawings. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The element of an id, which is there. */
export const by = (id) => document.getElementById(id);

/** Fills a select, and hides it where there is nothing to choose. */
export function options(id, names, chosen) {
  by(id).replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  if (names.includes(chosen)) by(id).value = chosen;
  by(`${id}-of`).hidden = names.length < 2;
}

/** Lets the browser draw and take input before work goes on. */
export const breath = () => new Promise((resolve) => setTimeout(resolve));

/** Does a piece of work for each item, and lets the browser breathe whenever `budget` milliseconds were used. */
export async function inBreaths(items, work, { signal, budget = 8 } = {}) {
  let began = performance.now();
  for (const item of items) {
    if (performance.now() - began > budget) {
      await breath();
      began = performance.now();
    }
    if (signal?.aborted) return;
    work(item);
  }
}

/** Hands a text to the user as a file. */
export function download(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
