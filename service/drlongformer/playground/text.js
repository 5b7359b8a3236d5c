/* Places in a text. The service counts Unicode code points, JavaScript counts UTF-16 units:

       text    a   𝛼   b          'a𝛼b'.length is 4
       point   0   1   2   3
       unit    0   1   3   4

   Everything here is a pure function of a string; nothing knows the page. */

const ASTRAL = /[\u{10000}-\u{10FFFF}]/gu;
const WORD = /[\p{L}\p{N}]+(?:-[\p{L}\p{N}]+)*/gu;
const MAX_TITLE = 80;

/** Translates places of one text between code points and UTF-16 units, in both directions. */
export class Places {
  #points = []; // the code point at which each character of two units stands, in order
  #units = []; // the same characters, in units

  constructor(text) {
    let before = 0;
    for (const found of text.matchAll(ASTRAL)) {
      this.#units.push(found.index);
      this.#points.push(found.index - before);
      before += 1;
    }
    this.length = text.length - before;
  }

  /** The UTF-16 unit at which a code point begins. */
  unit(point) {
    return point + countBelow(this.#points, point);
  }

  /** The code point that begins at a UTF-16 unit; in the middle of a pair, the one behind it. */
  point(unit) {
    return unit - countBelow(this.#units, unit - 1);
  }
}

/** How many of the ascending numbers are less than `limit`. */
function countBelow(numbers, limit) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Every word of a text, and every mask: `[{start, end}]` in units. A mask is one word, whatever signs it is made of. */
export function words(text, mask = "") {
  const found = [];
  let from = 0;
  const plain = (end) => {
    for (const word of text.slice(from, end).matchAll(WORD)) {
      found.push({ start: from + word.index, end: from + word.index + word[0].length });
    }
  };
  for (let at = mask ? text.indexOf(mask) : -1; at >= 0; at = text.indexOf(mask, from)) {
    plain(at);
    found.push({ start: at, end: at + mask.length, mask: true });
    from = at + mask.length;
  }
  plain(text.length);
  return found;
}

/** The word at a place, or right before it; undefined where there is none. */
export function wordAt(text, unit, mask) {
  return words(text, mask).find((word) => word.start <= unit && unit <= word.end);
}

/** Cuts a text into runs of whole lines of about `size` units, `[[start, end]]`, none of which cuts one of the spans. */
export function runs(text, spans = [], size = 2000) {
  const cut = [];
  let start = 0;
  let next = 0;
  while (start < text.length) {
    let end = start + size >= text.length ? text.length : lineEnd(text, start + size);
    while (next < spans.length && spans[next].start < end) {
      if (spans[next].end > end) end = lineEnd(text, spans[next].end);
      next += 1;
    }
    cut.push([start, end]);
    start = end;
  }
  return cut;
}

function lineEnd(text, from) {
  const found = text.indexOf("\n", from - 1);
  return found < 0 ? text.length : found + 1;
}

/** The parts of one text as pieces that follow each other: `[{start, end, span?}]`, the spans in order and the text between.

    A span that begins before the one before it has ended is left out. */
export function pieces(spans, start, end) {
  const cut = [];
  let at = start;
  for (const span of spans) {
    if (span.start < at) continue;
    if (span.start > at) cut.push({ start: at, end: span.start });
    cut.push({ start: span.start, end: span.end, span });
    at = span.end;
  }
  if (at < end) cut.push({ start: at, end });
  return cut;
}

/** The sections of a text, `[{title, start, end}]` in units: each begins with a line of capitals, or a short one that ends with a
    colon. What stands before the first is one too. Without any title the paragraphs are the sections. */
export function sections(text) {
  const lines = [...text.matchAll(/^.*$/gmu)].filter((line) => isTitle(line[0]));
  if (!lines.length) return paragraphs(text);
  const heads = lines.filter((line, place) => {
    const above = lines[place - 1];
    return !above || text.slice(above.index + above[0].length, line.index).trim(); // titles in a row head one section
  });
  const starts = heads.map((line) => line.index);
  if (text.slice(0, starts[0]).trim()) starts.unshift(0);
  return starts.flatMap((start, place) => titled(text, start, starts[place + 1] ?? text.length));
}

/** The parts of a text between empty lines, `[{title, start, end}]`. */
export function paragraphs(text) {
  const found = [];
  let from = 0;
  for (const gap of [...text.matchAll(/\n[^\S\n]*\n\s*/gu), { index: text.length, 0: "" }]) {
    found.push(...titled(text, from, gap.index));
    from = gap.index + gap[0].length;
  }
  return found;
}

function isTitle(line) {
  const bare = line.trim();
  if (bare.length < 4 || bare.length > MAX_TITLE) return false;
  if (count(bare, /\d/gu) > count(bare, /\p{L}/gu)) return false; // "IPP : 8000412377" heads nothing
  const capitals = /\p{Lu}{3}/u.test(bare) && !/\p{Ll}{3}/u.test(bare.replace(/\([^)]*\)/gu, ""));
  return capitals || /^\p{Lu}.{2,58}[^\s]\s?:$/u.test(bare);
}

function count(text, sign) {
  return text.match(sign)?.length ?? 0;
}

/** The span without blank edges and its first line, as a list of one; an empty list where it is blank. */
function titled(text, start, end) {
  const inside = text.slice(start, end);
  const bare = inside.trim();
  if (!bare) return [];
  const first = start + inside.indexOf(bare[0]);
  return [{ title: bare.split("\n", 1)[0].trim().slice(0, MAX_TITLE), start: first, end: first + bare.length }];
}

/** What a word for a mask becomes in the text: its leading space is left out where the text has one, or an apostrophe. */
export function fitted(text, start, token) {
  const before = text.slice(Math.max(0, start - 1), start);
  return before === "" || /[\s(«"'’-]/u.test(before) ? token.trimStart() : token;
}
