/* The service, as the page asks it. The key lives in this object and nowhere else: not in storage, not in an address. */

/** An answer other than 200, as `application/problem+json` tells it. */
export class Refusal extends Error {
  constructor({ slug, status, detail, fields, retryAfter }) {
    super(detail);
    Object.assign(this, { slug, status, detail, fields, retryAfter });
  }
}

/** No answer came: the service is not there, or the network. */
export class Unreachable extends Error {}

export class Service {
  #keys = {}; // by the scope they were asked for

  /** Remembers a key for a scope, until the page is left. */
  unlock(scope, key) {
    this.#keys[scope] = key;
  }

  /** Forgets every key. */
  lock() {
    this.#keys = {};
  }

  /** Whether requests of this scope carry a key. */
  keyed(scope) {
    return Boolean(this.#keys[scope] || this.#keys.infer);
  }

  /** The page of metrics; null where the page has no key for it, or it cannot be had. */
  async metrics(signal) {
    if (this.#keys.infer && !this.#keys.metrics) return null;
    try {
      return await (await this.get("metrics", { scope: "metrics", signal })).text();
    } catch {
      return null; // it was wanted for an estimate alone; the request beside it tells what is wrong
    }
  }

  get(path, { scope = "infer", signal } = {}) {
    return this.#ask(path, { method: "GET", signal }, scope);
  }

  post(path, body, { signal } = {}) {
    const sent = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal };
    return this.#ask(path, sent, "infer");
  }

  /** An address of the service as other programs write it. */
  url(path) {
    return new URL(path, document.baseURI).href.replace(/#.*$/, "");
  }

  /** The response, once it is known to be 200. Throws Refusal, Unreachable, and AbortError where it was cancelled. */
  async #ask(path, asked, scope) {
    const key = this.#keys[scope] || this.#keys.infer;
    const headers = { ...asked.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let response;
    try {
      response = await fetch(path, { ...asked, headers, cache: "no-store", credentials: "omit", redirect: "error" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Unreachable(error.message);
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({})); // a proxy's own refusals are no problem+json
  return new Refusal({
    slug: String(problem.type ?? "")
      .split("/")
      .at(-1),
    status: response.status,
    detail: problem.detail ?? "",
    fields: problem.errors ?? [],
    retryAfter: Number(response.headers.get("Retry-After")) || null,
  });
}

/** The stages of a `Server-Timing` header: `[{name, milliseconds}]`. */
export function stages(header) {
  return [...(header ?? "").matchAll(/([a-z_-]+);dur=([0-9.]+)/g)].map(([, name, dur]) => ({
    name,
    milliseconds: Number(dur),
  }));
}
