/** The parts of the client that need no gateway. */
import assert from "node:assert/strict";
import { appendFile, mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { openFileStorage } from "../../src/file-storage.js";
import { parseJson } from "../../src/http.js";
import { nextId, uuid7 } from "../../src/ids.js";
import * as client from "../../src/im-timeline.js";

const CANONICAL = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("ids increase, also in one millisecond and when the clock goes back", () => {
  let last = null;
  for (const now of [1000, 1000, 1000, 999, 5, 1001, 1001]) {
    const id = nextId(last, now);
    assert.match(id, CANONICAL);
    assert.ok(last === null || id > last);
    last = id;
  }
  const full = uuid7(7, (1n << 74n) - 1n);
  assert.ok(nextId(full, 7) > full);
});

test("a cursor of 63 bits keeps its digits, and texts stay as they are", () => {
  const text = '{"next":9007199254740993,"records":[{"sync_seq": 9007199254740995,"text":"a,\\"next\\":12345678901234567"}]}';
  const page = parseJson(text);
  assert.equal(BigInt(page.next), 9007199254740993n);
  assert.equal(BigInt(page.records[0].sync_seq), 9007199254740995n);
  assert.equal(page.records[0].text, 'a,"next":12345678901234567');
  assert.equal(parseJson('{"next":12}').next, 12);
});

test("a file has all of a write or nothing", async () => {
  const path = join(await mkdtemp(join(tmpdir(), "im-")), "state.jsonl");
  const first = await openFileStorage(path);
  await first.write([["a", 2, { n: 2 }], ["a", 10, { n: 10 }], ["b", "x", 1]]);
  await first.write([["a", 2, null], ["b", "x", 3]]);
  await first.close();
  await appendFile(path, '[["b","x",4'); // the process ended in a write
  const second = await openFileStorage(path);
  assert.deepEqual(await second.read("a"), [[10, { n: 10 }]]);
  assert.deepEqual(await second.read("b"), [["x", 3]]);
  await second.write([["b", "y", 5]]);
  await second.close();
  const third = await openFileStorage(path);
  assert.deepEqual(await third.read("b"), [["x", 3], ["y", 5]]);
  await third.close();
});

test("the types name what the module exports, and each method of the client", async () => {
  const types = await readFile(new URL("../../src/im-timeline.d.ts", import.meta.url), "utf8");
  const named = [...types.matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(named.toSorted(), Object.keys(client).toSorted());
  const [, body] = types.match(/^export class Client[^{]*\{\n([\s\S]*?)^\}/m);
  const methods = [...body.matchAll(/^ {2}(\w+)(?:<[^>]*>[^(]*)?\(/gm)].map(([, name]) => name);
  const own = Object.getOwnPropertyDescriptors(client.Client.prototype);
  const real = Object.keys(own).filter((name) => {
    return name !== "constructor" && own[name].value instanceof Function;
  });
  assert.deepEqual(new Set(methods), new Set(real));
});
