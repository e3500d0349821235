/**
 * A device that a test drives step by step: reads one command of JSON a line, and answers each with
 * one line. `tests/property/test_js_device.py` describes the steps.
 */
import { createInterface } from "node:readline";

import { Device } from "../src/device.js";
import { GatewayHttp } from "../src/http.js";
import { LocalStore } from "../src/local-store.js";
import { MemoryStorage } from "../src/storage.js";
import { Timelines } from "../src/timelines.js";

/** The process of the device was killed at a write. */
class Killed extends Error {}

/** A storage whose process dies before a write. */
class DyingStorage extends MemoryStorage {
  writes = Infinity;

  async write(changes) {
    if (this.writes === 0) throw new Killed();
    this.writes -= 1;
    await super.write(changes);
  }
}

let storage;
let store;
let device;
let timelines;
let answers;
let shown;
let given;
let hasRestarted = false;

/** Start a process of the device, which has only the contents of its storage. */
async function start() {
  storage.writes = Infinity;
  answers = [];
  const { signal } = new AbortController();
  const http = new GatewayHttp({ address: given.address, token: () => given.token, signal });
  timelines = new Timelines(http, { sync: 3, history: 4, list: 1 });
  store = await LocalStore.open(storage, given.user);
  const parts = {
    store, source: timelines, timelines, deviceId: given.device, window: null,
    show: (item) => shown.push(item),
    observe: () => {},
    restart: () => {
      shown = [];
      answers = []; // the gateway was stopped, so no answer is in flight
      hasRestarted = true;
    },
    onState: () => {},
  };
  device = new Device(parts, signal, { headsAgeMs: 0 });
}

function batch({ after, records, places, next }) {
  return { after: after === null ? null : BigInt(after), arrived: records, places: places.map(BigInt), next: BigInt(next) };
}

const steps = {
  async begin(world) {
    given = world;
    storage = new DyingStorage();
    shown = [];
    await start();
    await store.begin(await timelines.register(given.device, null));
  },
  kill: start,
  async dieAfter({ writes }) {
    storage.writes = writes;
  },
  turn: () => device.turn(),
  async apply({ batch: heard }) {
    await store.apply({ ...batch(heard), more: false });
  },
  async hear({ batch: heard }) {
    answers.push(() => store.apply({ ...batch(heard), more: false }));
  },
  async hearHead({ conv, head }) {
    answers.push(() => store.notePushedHeads(new Map([[conv, head]])));
  },
  async askPage({ after }) {
    const page = await timelines.after(BigInt(after), 0);
    answers.push(() => store.apply(page));
  },
  async askHeads({ everything }) {
    const listed = await timelines.conversations();
    answers.push(() => store.noteHeads(listed, everything));
  },
  async askGaps() {
    for (const gap of await store.gaps(5)) {
      const part = await timelines.part(gap);
      answers.push(() => store.learn(part));
    }
  },
  async takeAnswer({ place, again }) {
    if (answers.length === 0) return;
    const chosen = place % answers.length;
    const [answer] = again ? [answers[chosen]] : answers.splice(chosen, 1);
    await answer();
  },
  async show({ count, isRemembered }) {
    const items = await store.unshown(count);
    shown.push(...items);
    if (items.length > 0 && isRemembered) await store.markShown(items.at(-1));
  },
  async state() {
    const stored = {};
    for (const { convId, start: first } of store.conversations()) {
      stored[convId] = await store.timeline(convId, first - 1, 10_000);
    }
    const rows = [...storage.content()].filter(([group]) => group.startsWith("item:"));
    const seqs = rows
      .filter(([, , { hole }]) => hole === null || hole === "recalled")
      .map(([group, first]) => [group.slice("item:".length), first]);
    const readings = Object.fromEntries(given.conversations.map((convId) => {
      return [convId, { unread: store.unread(convId), mark: markOf(convId), muted: store.mutedUntil(convId) }];
    }));
    const newly = shown;
    const restarted = hasRestarted;
    shown = [];
    hasRestarted = false;
    return { restarted, cursor: Number(store.cursor), stored, seqs, readings, shown: newly };
  },
};

function markOf(convId) {
  return store.reading(convId).mark;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { step, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = { result: (await steps[step](rest)) ?? null };
  } catch (error) {
    answer = error instanceof Killed ? { killed: true } : { error: String(error.stack) };
  }
  console.log(JSON.stringify(answer));
}
