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

/** A source whose connections begin at once; what it sends over each of them, and the end of the last. */
function sourceThatTells() {
  const sockets = [];
  class Socket extends EventTarget {
    sent = [];

    constructor() {
      super();
      sockets.push(this);
      setTimeout(() => {
        this.dispatchEvent(new MessageEvent("message", { data: '{"kind":"begun","next":0}' }));
      }, 1);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close() {
      this.dispatchEvent(Object.assign(new Event("close"), { code: 1012 }));
    }
  }
  const ending = new AbortController();
  const http = { socketUrl: () => "ws://gateway", token: async () => "token" };
  const timelines = { after: async (cursor) => ({ arrived: [], next: cursor, more: false }) };
  const source = new LiveSource(http, timelines, Socket, ending.signal);
  return { source, sockets, end: () => ending.abort() };
}

async function until(isDone) {
  while (!isDone()) await new Promise((resolve) => setTimeout(resolve, 5));
}

test("each connection of a device that nobody looks at says so", async () => {
  const { source, sockets, end } = sourceThatTells();
  const away = { kind: "presence", active: false };
  const here = { kind: "presence", active: true };
  source.setActive(false); // before the first connection
  await source.after(0n, 0);
  await until(() => sockets[0]?.sent.length === 1);
  sockets[0].close();
  await until(() => sockets[1]?.sent.length === 1);
  for (const isActive of [false, true, true, false, true]) source.setActive(isActive);
  assert.deepEqual(sockets.map(({ sent }) => sent), [[away], [away, here, away, here]]);
  sockets[1].close();
  await until(() => sockets.length === 3);
  source.setActive(false);
  await until(() => sockets[2].sent.length > 0);
  assert.deepEqual(sockets[2].sent, [away]);
  end();
});
