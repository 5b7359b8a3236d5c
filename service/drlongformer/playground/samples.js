/* The invented documents: nobody of these names exists, nor the hospital. The stay is its six documents, one after the other. */

const STAY = ["urgences", "radiologie", "operatoire", "anatomopathologie", "evolution", "sortie"];

/** What can be chosen, in the order of the list. */
export const SAMPLES = [
  "sejour",
  "urgences",
  "operatoire",
  "radiologie",
  "anatomopathologie",
  "evolution",
  "sortie",
  "consultation",
  "notice",
];

/** The text of a document. Throws TypeError where it cannot be fetched. */
export async function sample(name) {
  const parts = await Promise.all((name === "sejour" ? STAY : [name]).map(fetched));
  return parts.map((part) => part.trim()).join("\n\n\n");
}

async function fetched(name) {
  const response = await fetch(new URL(`./${name}.txt`, import.meta.url));
  if (!response.ok) throw new TypeError(`${name}.txt: status ${response.status}`);
  return response.text();
}
