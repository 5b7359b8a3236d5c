/* The request that was sent, as a program that sends it again. A key is never in it, only the name of a variable.

   A long text is read from a file, so that the program stays readable. */

const LONGEST = 1500;
const FILE = "document.txt";
const KEY = "DRLONGFORMER_KEY";

/** The languages, in the order they are shown. */
export const LANGUAGES = { curl: "curl", python: "Python", r: "R" };

/** What repeats a request; `keyed` says whether a key must be sent with it. */
export function snippet(language, { url, body, keyed }) {
  const { inputs } = body;
  const text = typeof inputs === "string" ? inputs : (inputs.source ?? inputs.context ?? "");
  return { curl, python, r }[language]({ url, body, keyed, long: text.length > LONGEST && text });
}

function curl({ url, body, keyed, long }) {
  const headers = ["-H 'Content-Type: application/json'", ...(keyed ? [`-H "Authorization: Bearer $${KEY}"`] : [])];
  const call = `curl -s ${quoted(url)} ${headers.join(" ")}`;
  if (!long) return `${call} --data-binary @- <<'JSON'\n${JSON.stringify(body)}\nJSON\n`;
  return `jq -n --rawfile text ${FILE} ${quoted(written(body, JQ, long))} |\n  ${call} --data-binary @-\n`;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function python({ url, body, keyed, long }) {
  const key = keyed ? [`"Authorization": f"Bearer {os.environ['${KEY}']}"`] : [];
  const headers = ['"Content-Type": "application/json"', ...key].join(", ");
  return `${["import json", ...(keyed ? ["import os"] : []), "import urllib.request"].join("\n")}

body = ${written(body, PYTHON, long)}
request = urllib.request.Request(${JSON.stringify(url)}, json.dumps(body).encode(), {${headers}})
with urllib.request.urlopen(request) as answer:
    print(json.dumps(json.load(answer), ensure_ascii=False, indent=1))
`;
}

function r({ url, body, keyed, long }) {
  const key = keyed ? `\n  req_auth_bearer_token(Sys.getenv("${KEY}")) |>` : "";
  return `library(httr2)

body <- ${written(body, R, long)}
answer <- request(${JSON.stringify(url)}) |>${key}
  req_body_json(body, auto_unbox = TRUE) |>
  req_perform() |>
  resp_body_json()
str(answer)
`;
}

const JQ = {
  list: (parts) => `[${parts.join(", ")}]`,
  object: (members) => `{${members.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(", ")}}`,
  file: "$text",
};

const PYTHON = {
  true: "True",
  false: "False",
  null: "None",
  list: (parts) => `[${parts.join(", ")}]`,
  object: (members) => `{${members.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(", ")}}`,
  file: `open("${FILE}", encoding="utf-8", newline="").read()`,
};

const R = {
  true: "TRUE",
  false: "FALSE",
  null: "NULL",
  list: (parts) => `list(${parts.join(", ")})`,
  object: (members) => `list(${members.map(([name, value]) => `\`${name}\` = ${value}`).join(", ")})`,
  file: `readChar("${FILE}", file.size("${FILE}"), useBytes = TRUE) |> enc2utf8()`,
};

/** A JSON value as a literal of a language, which reads JSON's strings as they are; `long` is the text that comes from the file. */
function written(value, language, long) {
  if (typeof value === "string") return value === long ? language.file : JSON.stringify(value);
  if (Array.isArray(value)) return language.list(value.map((each) => written(each, language, long)));
  if (value === null || typeof value !== "object") return language[String(value)] ?? String(value);
  return language.object(Object.entries(value).map(([name, member]) => [name, written(member, language, long)]));
}
