/** HTTP requests to the gateway, with retries and typed errors. */
import { ClientClosed, CursorAhead, GatewayUnavailable, RequestRefused, Trimmed } from "./errors.js";

/** The timeout of a request; longer than the longest wait of the gateway. */
const REQUEST_MS = 30_000;
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;
const PROBLEM_PREFIX = "urn:im-timeline:problem:";

/**
 * A cursor has up to 63 bits, a JavaScript number 53. So long cursors are read as texts. A quote in
 * a text of JSON is escaped, so the pattern matches names of fields only.
 */
const LONG_CURSOR = /([{,]\s*"(?:sync_seq|next|cursor|oldest)"\s*:\s*)(-?\d{16,})/g;

/** Parse JSON of the gateway: long cursors become texts. */
export function parseJson(text) {
  return JSON.parse(text.replace(LONG_CURSOR, '$1"$2"'));
}

/** Resolve after a time, or as soon as the signal aborts. */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}

/** The pause before a retry: it doubles, with some randomness, so that clients spread. */
export function backoff(attempt, first, longest) {
  return Math.min(longest, first * 2 ** attempt) * (0.5 + Math.random() / 2);
}

/**
 * Sends the requests of one person.
 *
 * `address`: such as `http://127.0.0.1:8080`; `token`: returns a bearer token or a promise of one,
 * and is called for each request; `fetch`: the platform's by default; `signal`: ends all requests.
 */
export class GatewayHttp {
  #address;
  #token;
  #fetch;
  #signal;

  constructor({ address, token, fetch, signal }) {
    this.#address = address.replace(/\/+$/, "");
    this.#token = token;
    this.#fetch = fetch ?? globalThis.fetch.bind(globalThis);
    this.#signal = signal;
  }

  /** A valid token. */
  async token() {
    return this.#token();
  }

  /** The address of a WebSocket. */
  socketUrl(path, query) {
    return this.#url(path, query).replace(/^http/, "ws");
  }

  /**
   * Send a request that may be repeated; parameters of the query that are null are left out. The
   * body is an object, or a text of JSON.
   *
   * Throws `GatewayUnavailable` after `ATTEMPTS` attempts, `RequestRefused` when a retry does not
   * help, `Trimmed` when records after a cursor have expired, `ClientClosed`.
   */
  async send(method, path, { query = {}, body } = {}) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return (await this.once(method, path, { query, body })).body;
      } catch (error) {
        if (!(error instanceof GatewayUnavailable) || attempt + 1 >= ATTEMPTS) throw error;
      }
      await pause(backoff(attempt, FIRST_PAUSE_MS, LONGEST_PAUSE_MS), this.#signal);
    }
  }

  /** Send a request in one attempt; return `{status, body}` of a success. Errors: see `send`. */
  async once(method, path, { query = {}, body } = {}) {
    const headers = { Authorization: `Bearer ${await this.#token()}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const timeout = AbortSignal.timeout(REQUEST_MS);
    let response;
    let text;
    try {
      response = await this.#fetch(this.#url(path, query), {
        method,
        headers,
        body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
        signal: this.#signal ? AbortSignal.any([this.#signal, timeout]) : timeout,
        cache: "no-store",
        credentials: "omit",
      });
      text = await response.text();
    } catch {
      if (this.#signal?.aborted) throw new ClientClosed("the client is closed");
      throw new GatewayUnavailable("the gateway does not answer");
    }
    const parsed = parsedBody(text, response.ok);
    if (response.ok) return { status: response.status, body: parsed };
    throw refusal(response, parsed);
  }

  #url(path, query) {
    const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
    const asked = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return this.#address + path + (given.length > 0 ? `?${asked}` : "");
  }
}

function parsedBody(text, isSuccess) {
  if (text === "") return null;
  try {
    return parseJson(text);
  } catch {
    // A proxy may answer a failure with another format.
    if (isSuccess) throw new GatewayUnavailable("the answer is not JSON");
    return null;
  }
}

function refusal(response, problem) {
  const { status } = response;
  const kind = (problem?.type ?? "").replace(PROBLEM_PREFIX, "") || "http";
  const detail = problem?.detail ?? "it gave no reason";
  if (status === 410 && problem?.oldest !== undefined) {
    return new Trimmed(BigInt(problem.cursor), BigInt(problem.oldest));
  }
  if (status >= 500 || status === 429 || status === 408) {
    const error = new GatewayUnavailable(detail);
    const seconds = Number(response.headers.get("Retry-After"));
    error.retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : 0;
    return error;
  }
  const Refusal = kind === "cursor-ahead" ? CursorAhead : RequestRefused;
  const refused = new Refusal(status, kind, detail);
  refused.problem = problem;
  return refused;
}
