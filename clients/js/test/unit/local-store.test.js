/** A local copy that begins again, because the log has lost records. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { LocalStore } from "../../src/local-store.js";
import { MemoryStorage } from "../../src/storage.js";

function message(convId, seq) {
  return {
    kind: "message_sent", conv_id: convId, seq, sender: "bob", client_msg_id: `id-${seq}`,
    at: seq, messages: seq, content: { type: "text", text: "hello" }, mentions: [],
  };
}

function batch(records, places) {
  return { after: -1n, arrived: records, places, next: places.at(-1), more: false, heads: null };
}

/** A late device with entries 5 and 6 of "a", which starts at 5, and of "gone". */
async function stored() {
  const storage = new MemoryStorage();
  await storage.write([["outbox", 1, { convId: "a" }], ["identity", "last_id", "id"]]);
  const store = await LocalStore.open(storage, "ann");
  const start = { convId: "a", first: 5, head: 4, mode: "push" };
  await store.begin({ cursor: -1n, isLate: true, starts: [start] });
  await store.apply(batch([message("a", 5), message("a", 6), message("gone", 1)], [1n, 2n, 3n]));
  await store.markShown({ convId: "a", first: 6, last: 6 });
  return { storage, store };
}

test("a copy that begins again has its starts and the outbox, and nothing else", async () => {
  const { storage, store } = await stored();
  const starts = [
    { convId: "a", first: 6, head: 5, mode: "push" },
    { convId: "b", first: 9, head: 8, mode: "pull" },
  ];
  await store.beginAgain({ cursor: 77n, isLate: true, starts });
  for (const each of [store, await LocalStore.open(storage, "ann")]) {
    assert.equal(each.cursor, -1n);
    assert.ok(each.hasBegun);
    assert.deepEqual(each.conversations().map(({ convId, start, head, shown, through }) => {
      return [convId, start, head, shown, through];
    }), [["a", 5, 5, 4, 4], ["b", 9, 8, 8, 8]]);
    assert.deepEqual(await each.gaps(9), [{ convId: "a", first: 5, last: 5 }]);
  }
  const groups = new Set([...storage.content()].map(([group]) => group));
  assert.deepEqual([...groups].sort(), ["conversation", "device", "identity", "outbox"]);
});

test("a failed write changes nothing", async () => {
  const { storage, store } = await stored();
  const before = JSON.stringify([...storage.content()]);
  storage.write = async () => {
    throw new Error("full");
  };
  await assert.rejects(store.beginAgain({ cursor: 0n, isLate: true, starts: [] }));
  assert.equal(JSON.stringify([...storage.content()]), before);
  assert.equal(store.cursor, 3n);
  assert.equal((await store.timeline("a", 4, 9)).length, 2);
});
