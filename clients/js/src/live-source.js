/**
 * The sync timeline and the heads of pulled conversations, pushed over a live connection; while
 * there is none, the source polls the gateway. This changes the latency only: each connection begins
 * after the device's cursor, and in the first batch of a connection `heads` is null, so the device
 * requests all heads and misses none.
 */
import { backoff, pause } from "./http.js";
import { LiveLink } from "./live-link.js";
import { PAGES } from "./timelines.js";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 20_000;

/** A connection that lasted this long was healthy: the next attempt begins without backoff. */
const LASTING_MS = 30_000;

/** The longest delay after the orderly end of a gateway, which disconnects its clients one by one. */
const ELSEWHERE_MS = 200;

/** A browser does not report pings. After this silence, a poll checks the connection. */
const SILENCE_MS = 30_000;

/** See the module. `Socket`: a WebSocket class, or undefined: the source only polls. */
export class LiveSource {
  #http;
  #timelines;
  #Socket;
  #signal;
  #link = null;
  #cursor = null;
  #nudge = new AbortController();
  #isActive = true;

  constructor(http, timelines, Socket, signal) {
    this.#http = http;
    this.#timelines = timelines;
    this.#Socket = Socket;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#end());
  }

  /** The next records above a cursor; waits up to `waitMs` for the first one. */
  async after(cursor, waitMs) {
    const isFirst = this.#cursor === null;
    this.#cursor = cursor;
    if (isFirst && this.#Socket !== undefined) void this.#keep();
    // A pushed batch was not applied: the connection is replaced by one after the cursor.
    if (this.#link !== null && this.#link.cursor > cursor) this.#end();
    const link = this.#link;
    if (link === null || link.isEmpty) return this.#timelines.after(cursor, waitMs);
    if (Date.now() - link.heardAt < SILENCE_MS) return link.next(cursor, waitMs);
    link.heardAt = Date.now();
    const batch = await this.#timelines.after(cursor, 0);
    if (batch.arrived.length > 0) link.close(); // the connection did not deliver them
    return batch;
  }

  /** Connect again without delay, for example when the network has returned. */
  nudge() {
    this.#nudge.abort();
    this.#nudge = new AbortController();
    this.#link?.interrupt();
  }

  /** Tell the gateway, now and at each later connection, whether the person looks at the device. */
  setActive(isActive) {
    if (isActive === this.#isActive) return;
    this.#isActive = isActive;
    this.#link?.tell(isActive);
  }

  /** End the connection, for example when the network is away. */
  drop() {
    this.#end();
  }

  #end() {
    this.#link?.close();
    this.#link = null;
  }

  /** Hold one connection after the other, with a growing backoff between failures. */
  async #keep() {
    for (let failures = 0; !this.#signal.aborted; ) {
      const begunAt = Date.now();
      const isSentElsewhere = await this.#connect();
      const isHealthy = isSentElsewhere || Date.now() - begunAt >= LASTING_MS;
      failures = isHealthy ? 0 : failures + 1;
      const ends = AbortSignal.any([this.#signal, this.#nudge.signal]);
      const ms = isSentElsewhere
        ? Math.random() * ELSEWHERE_MS
        : backoff(failures, FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
      await pause(ms, ends);
    }
  }

  /** Hold one connection to its end; return whether the gateway has sent the client elsewhere. */
  async #connect() {
    const cursor = this.#cursor;
    let link = null;
    try {
      const url = this.#http.socketUrl("/v1/live", { after: cursor, limit: PAGES.sync });
      link = await LiveLink.open(this.#Socket, url, await this.#http.token(), cursor);
    } catch {
      return false; // no token now: the next poll reports why
    }
    if (link === null) return false;
    if (this.#signal.aborted) {
      link.close();
      return false;
    }
    this.#link = link;
    if (!this.#isActive) link.tell(false); // a connection begins as active
    await link.ended;
    return link.isSentElsewhere;
  }
}
