/** What a device reads from the gateway: sync pages, history, the list, its registration. */
import { RequestRefused } from "./errors.js";

/** The gateway's maximum of a `wait` is 30 s, well below the timeout of a request. */
const LONGEST_WAIT_SECONDS = 20;

/** The maximum numbers of items of a page: records, entries, conversations. */
export const PAGES = Object.freeze({ sync: 500, history: 500, list: 200 });

/** The path of a conversation. */
export function pathOf(convId) {
  return `/v1/conversations/${encodeURIComponent(convId)}`;
}

/**
 * A page of a sync timeline as a batch: all records above `after`, which is null if unsure. `places`
 * are the sync SeqIds of the records.
 */
export function batchOf(page, after, heads) {
  const arrived = page.records.map((line) => line.record);
  const places = page.records.map((line) => BigInt(line.sync_seq));
  return { after, arrived, places, next: BigInt(page.next), more: page.more, heads };
}

/** An item of a history page in the form that a local store has. */
export function itemOf(convId, item) {
  if (item.hole === undefined) {
    return { convId, first: item.seq, last: item.seq, hole: null, entry: item };
  }
  return { convId, first: item.from, last: item.to, hole: item.hole, entry: null };
}

/** The gateway as one person's device uses it. Errors: see `GatewayHttp.send`. */
export class Timelines {
  #http;
  #pages;

  constructor(http, pages = PAGES) {
    this.#http = http;
    this.#pages = pages;
  }

  /** The records above a cursor: one page. Waits up to `waitMs` for the first one. */
  async after(cursor, waitMs) {
    const seconds = Math.min(Math.floor(waitMs / 1000), LONGEST_WAIT_SECONDS);
    const query = { after: cursor, limit: this.#pages.sync, wait: seconds > 0 ? seconds : null };
    return batchOf(await this.#http.send("GET", "/v1/sync", { query }), cursor, null);
  }

  /** The first part of a span: one page. Empty if the store does not have the conversation yet. */
  async part({ convId, first, last }) {
    const query = { from: first, to: last, limit: this.#pages.history };
    try {
      const page = await this.history(convId, query);
      return { convId, head: page.head, items: page.items };
    } catch (error) {
      if (error instanceof RequestRefused && error.status === 404) {
        return { convId, head: 0, items: [] };
      }
      throw error;
    }
  }

  /** A page of history: `{head, items, next}`. The query is that of the gateway. */
  async history(convId, query) {
    const page = await this.#http.send("GET", `${pathOf(convId)}/messages`, { query });
    return { ...page, items: page.items.map((item) => itemOf(convId, item)) };
  }

  /** All conversations that the person is or was in. */
  async conversations() {
    // By id, because pages by activity can miss a conversation that changes between two of them.
    const found = await this.#listed("/v1/conversations", { order: "id" });
    return found.map((each) => ({
      ...each,
      convId: each.conv_id,
      since: each.periods[0].first,
    }));
  }

  /** Register the device. The cursor is taken before the starts: nothing falls between the two. */
  async register(deviceId, window) {
    const body = { device_id: deviceId };
    const device = await this.#http.send("POST", "/v1/devices", { body });
    const isLate = device.policy !== "full-history";
    const starts = isLate ? await this.#starts(deviceId) : [];
    const beginning = { cursor: BigInt(device.cursor), isLate, starts };
    return window === null ? beginning : this.#within(window, beginning);
  }

  /** Report the cursor of a device. */
  async report(deviceId, cursor) {
    const path = `/v1/devices/${encodeURIComponent(deviceId)}/cursor`;
    // As a text, because a number of JavaScript may not have the precision of a cursor.
    await this.#http.send("PUT", path, { body: `{"cursor":${cursor}}` });
  }

  async #starts(deviceId) {
    const path = `/v1/devices/${encodeURIComponent(deviceId)}/conversations`;
    const found = await this.#listed(path);
    return found.map(({ conv_id: convId, from, head, mode }) => ({
      convId, first: from, head, mode,
    }));
  }

  /** The same beginning, but with at most `window` SeqIds of each conversation. */
  async #within(window, beginning) {
    const firsts = new Map(beginning.starts.map((each) => [each.convId, each.first]));
    const starts = (await this.conversations()).map(({ convId, head, mode }) => {
      const first = Math.max(firsts.get(convId) ?? 1, head - window + 1, 1);
      return { convId, first, head, mode };
    });
    return { ...beginning, isLate: true, starts };
  }

  async #listed(path, order = {}) {
    const found = [];
    let after = null;
    do {
      const page = await this.#http.send("GET", path, {
        query: { ...order, after, limit: this.#pages.list },
      });
      found.push(...page.conversations);
      after = page.next;
    } while (after !== null);
    return found;
  }
}
