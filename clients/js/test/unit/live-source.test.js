/** The live connection without a gateway. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveSource } from "../../src/live-source.js";

const ENDS = 8;

/** A connection that begins, and then ends with a code. */
function socketsThatEndWith(code) {
  return class extends EventTarget {
    static opened = 0;

    constructor() {
      super();
      this.constructor.opened += 1;
      setTimeout(() => this.#begin(), 1);
    }

    #begin() {
      this.dispatchEvent(new MessageEvent("message", { data: '{"kind":"begun","next":0}' }));
      setTimeout(() => this.dispatchEvent(Object.assign(new Event("close"), { code })), 1);
    }

    close() {}
  };
}

/** The connections that a source opens within a time; it may open more than `ENDS` before the end. */
async function openedWithin(ms, code) {
  const ending = new AbortController();
  const Socket = socketsThatEndWith(code);
  const http = { socketUrl: () => "ws://gateway", token: async () => "token" };
  const timelines = { after: async (cursor) => ({ arrived: [], next: cursor, more: false }) };
  const source = new LiveSource(http, timelines, Socket, ending.signal);
  await source.after(0n, 0);
  const end = Date.now() + ms;
  while (Date.now() < end && Socket.opened < ENDS) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  ending.abort();
  return Socket.opened;
}

test("a gateway that ends is left at once, any other end needs a growing pause", async () => {
  assert.ok((await openedWithin(ENDS * 1000, 1012)) >= ENDS);
  assert.ok((await openedWithin(2000, 1011)) < ENDS);
});
