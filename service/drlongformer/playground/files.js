/* Files as texts: UTF-8; UTF-16 where a mark says so; else Windows-1252. What is empty or no text is refused with a sentence. */

import { number, say } from "./wording.js";

const MOST_MEGABYTES = 8;
const CONTROLS = /[\u0001-\u0008\u000e-\u001f]/g; // tabs, line ends and form feeds are text
const MOST_CONTROLS = 0.01; // of all signs: a stray one stands in many an old record, and any random bytes have ten times as many
const WIDE = { "255,254": "utf-16le", "254,255": "utf-16be" }; // by the mark that such a file begins with

/** Reads files: `{texts, told}` with the texts as `[{name, text}]`, and a sentence for each file of which there is one to tell. */
export async function texts(files) {
  const read = await Promise.all([...files].map(opened));
  const named = read.map(({ text, told }, place) => ({ name: files[place].name, text, told }));
  const sentence = ({ name, told }) => say(told, { name, limit: number(MOST_MEGABYTES) });
  return {
    texts: named.flatMap(({ name, text }) => (text === undefined ? [] : { name, text })),
    told: named.filter(({ told }) => told).map(sentence),
  };
}

async function opened(file) {
  if (!/\.txt$/i.test(file.name)) return { told: "file_kind" };
  if (file.size > MOST_MEGABYTES * 2 ** 20) return { told: "file_large" };
  return textOf(new Uint8Array(await file.arrayBuffer()));
}

/** The text of a file's bytes, and the key of what is to be told of it: `{text, told}`, one of which may be missing. */
export function textOf(bytes) {
  const { text, told } = decoded(bytes);
  if (text === undefined || text.includes("\0") || (text.match(CONTROLS)?.length ?? 0) > MOST_CONTROLS * text.length) {
    return { told: "file_binary" };
  }
  return text.trim() ? { text: lined(text), told } : { told: "file_empty" };
}

function decoded(bytes) {
  const wide = WIDE[bytes.slice(0, 2).join()];
  if (wide) return { text: strictly(wide, bytes) };
  const text = strictly("utf-8", bytes);
  return text === undefined ? { text: new TextDecoder("windows-1252").decode(bytes), told: "file_cp1252" } : { text };
}

/** The text that the bytes are in an encoding, without its mark; undefined where they are none. */
function strictly(encoding, bytes) {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return undefined; // it is another encoding, or no text: the caller tells which
  }
}

/** A text as a text area holds it: lines end with a line feed alone. */
export function lined(text) {
  return text.replace(/\r\n?/g, "\n");
}
