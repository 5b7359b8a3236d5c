/* Prometheus' text format, read; and what is computed from two readings: rates, and where quantiles lie. */

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = { n: "\n", "\\": "\\", '"': '"' };
const NUMBERS = { "+Inf": Infinity, Inf: Infinity, "-Inf": -Infinity, NaN };

/** A page of metrics: a Map from the name to its samples, `[{labels, value}]`. Throws SyntaxError with the number of a bad line. */
export function parse(page) {
  const samples = new Map();
  page.split("\n").forEach((line, place) => {
    if (!line.trim() || line.startsWith("#")) return;
    const found = LINE.exec(line.trim());
    const value = found && (NUMBERS[found[3]] ?? Number(found[3]));
    if (!found || (Number.isNaN(value) && found[3] !== "NaN")) throw new SyntaxError(`line ${place + 1} is no sample`);
    if (!samples.has(found[1])) samples.set(found[1], []);
    samples.get(found[1]).push({ labels: labels(found[2] ?? ""), value });
  });
  return samples;
}

function labels(text) {
  const found = [...text.matchAll(LABEL)];
  return Object.fromEntries(
    found.map(([, name, value]) => [name, value.replace(/\\(.)/g, (_, sign) => ESCAPED[sign] ?? sign)]),
  );
}

/** The sum of a metric's samples whose labels are these; 0 where there is none. */
export function sum(samples, name, wanted = {}) {
  const fits = ({ labels: own }) => Object.entries(wanted).every(([label, value]) => own[label] === value);
  return (samples.get(name) ?? []).filter(fits).reduce((total, each) => total + each.value, 0);
}

/** The samples without those of which a label has this value. */
export function without(samples, label, value) {
  return new Map([...samples].map(([name, all]) => [name, all.filter((each) => each.labels[label] !== value)]));
}

/** The values that a label of a metric takes, in the order of the page. */
export function values(samples, name, label) {
  return [...new Set((samples.get(name) ?? []).map((each) => each.labels[label]))];
}

/** The buckets of a histogram, `[{le, count}]` by rising bound; samples with other labels than these are added up. */
export function buckets(samples, name, wanted = {}) {
  const bounds = values(samples, `${name}_bucket`, "le").map((le) => ({ le, bound: NUMBERS[le] ?? Number(le) }));
  bounds.sort((one, other) => one.bound - other.bound);
  return bounds.map(({ le, bound }) => ({ le: bound, count: sum(samples, `${name}_bucket`, { ...wanted, le }) }));
}

/** What came between two readings of a histogram; a later one that is lower means that the service was started anew. */
export function since(later, earlier) {
  const before = new Map(earlier.map((each) => [each.le, each.count]));
  const restarted = later.some((each) => each.count < (before.get(each.le) ?? 0));
  return restarted ? later : later.map((each) => ({ le: each.le, count: each.count - (before.get(each.le) ?? 0) }));
}

/** The bounds of a histogram between which its quantile lies, `{low, high}`: more it does not know; null where nothing was
    observed. The last bucket has no bound, there `high` is Infinity. */
export function between(share, counted) {
  const total = counted.at(-1)?.count ?? 0;
  if (!total) return null;
  const place = counted.findIndex((each) => each.count >= share * total);
  return { low: place ? counted[place - 1].le : 0, high: counted[place].le };
}

/** How much a counter grew, by second; from its later value alone where the service was started anew. */
export function rate(later, earlier, seconds) {
  if (!(seconds > 0)) return 0;
  return (later < earlier ? later : later - earlier) / seconds;
}
