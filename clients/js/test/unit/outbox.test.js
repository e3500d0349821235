/** The outbox, on a gateway that answers as a test decides. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { CommandRejected, GatewayUnavailable, RequestRefused } from "../../src/errors.js";
import { Outbox } from "../../src/outbox.js";
import { MemoryStorage } from "../../src/storage.js";

/** Answers each request by the next answer; without one, the request is lost. */
class Gateway {
  requests = [];
  answers = [];

  async once(method, path, { body }) {
    this.requests.push({ method, path, ...body });
    const answer = this.answers.shift();
    if (answer === undefined) throw new GatewayUnavailable("lost");
    if (answer instanceof Error) throw answer;
    return answer;
  }
}

function accepted(seq) {
  return { status: 201, body: { seq, at: seq * 1000 } };
}

async function opened(storage, http) {
  const closing = new AbortController();
  const parts = { storage, http, user: "ann", deviceId: "d", signal: closing.signal };
  const outbox = await Outbox.open(parts, () => {});
  return { outbox, end: () => closing.abort() };
}

function said(text, convId = "c") {
  return { convId, kind: "send", method: "POST", path: `/${convId}`, body: { text } };
}

test("commands of a conversation are sent in order, and survive the process", async () => {
  const storage = new MemoryStorage();
  const gateway = new Gateway();
  const before = await opened(storage, gateway);
  const ids = [];
  for (const text of ["one", "two", "three"]) {
    ids.push((await before.outbox.put(said(text))).clientMsgId);
  }
  assert.deepEqual(ids, ids.toSorted());
  assert.deepEqual(new Set(gateway.requests.map((each) => each.text)), new Set(["one"]));
  before.end();

  gateway.requests = [];
  gateway.answers = [accepted(1), accepted(2), accepted(3)];
  const after = await opened(storage, gateway);
  after.outbox.start();
  const more = await after.outbox.put(said("four"));
  gateway.answers.push(accepted(4));
  assert.deepEqual(await more.outcome, { seq: 4, at: 4000 });
  assert.deepEqual(gateway.requests.map((each) => each.text), ["one", "two", "three", "four"]);
  assert.deepEqual(gateway.requests.map((each) => each.client_msg_id), [...ids, more.clientMsgId]);
  assert.equal(new Set(gateway.requests.map((each) => each.installation)).size, 1);
  assert.equal(after.outbox.size, 0);
  after.end();
});

test("a rejection is an outcome, and the next command follows", async () => {
  const gateway = new Gateway();
  const refused = new RequestRefused(403, "rejected", "no");
  refused.problem = { code: "not_a_member" };
  gateway.answers = [refused, accepted(7)];
  const { outbox, end } = await opened(new MemoryStorage(), gateway);
  const first = await outbox.put(said("one"));
  const second = await outbox.put(said("two"));
  await assert.rejects(first.outcome, (error) => {
    return error instanceof CommandRejected && error.code === "not_a_member";
  });
  assert.equal((await second.outcome).seq, 7);
  end();
});

test("a token that is not accepted loses no command", async () => {
  const gateway = new Gateway();
  gateway.answers = [new RequestRefused(401, "unauthorized", "expired"), accepted(1)];
  const { outbox, end } = await opened(new MemoryStorage(), gateway);
  const sent = await outbox.put(said("one"));
  assert.equal((await sent.outcome).seq, 1);
  end();
});

test("the outcome of an accepted command arrives by sync", async () => {
  const gateway = new Gateway();
  gateway.answers = [{ status: 202, body: {} }, accepted(2)];
  const { outbox, end } = await opened(new MemoryStorage(), gateway);
  const first = await outbox.put(said("one"));
  const second = await outbox.put(said("two"));
  await second.outcome; // the next command does not wait for the outcome
  assert.deepEqual(outbox.pending("c").map((each) => each.state), ["accepted"]);
  const record = { client_msg_id: first.clientMsgId, conv_id: "c", seq: 1, at: 5 };
  await outbox.observe({ ...record, kind: "message_sent", sender: "bob" });
  assert.equal(outbox.size, 1);
  await outbox.observe({ ...record, kind: "message_sent", sender: "ann" });
  assert.deepEqual(await first.outcome, { seq: 1, at: 5 });
  assert.equal(outbox.size, 0);
  end();
});

test("a read mark that was not sent is replaced by a later one", async () => {
  const gateway = new Gateway();
  const { outbox, end } = await opened(new MemoryStorage(), gateway);
  const message = await outbox.put(said("one"));
  const mark = (seq) => ({ convId: "c", kind: "read", method: "PUT", path: "/r", body: { seq } });
  const first = await outbox.put(mark(3), { replaces: true });
  const last = await outbox.put(mark(9), { replaces: true });
  assert.deepEqual(outbox.pending("c").map((each) => each.body.seq), [undefined, 9]);
  gateway.answers = [accepted(1), { status: 200, body: { seq: 9, at: 1 } }];
  outbox.nudge();
  await message.outcome;
  assert.equal((await first.outcome).seq, 9);
  assert.equal((await last.outcome).seq, 9);
  end();
});

test("a window adopts the commands of another one, which keep their ids", async () => {
  const gateway = new Gateway();
  const closed = new MemoryStorage();
  const before = await opened(closed, gateway);
  const sent = await before.outbox.put(said("one"));
  before.end();
  gateway.requests = [];
  gateway.answers = [accepted(1)];
  const storage = new MemoryStorage();
  const { outbox, end } = await opened(storage, gateway);
  await outbox.adopt((await closed.read("outbox")).map(([, value]) => value));
  while (outbox.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(gateway.requests.map((each) => each.client_msg_id), [sent.clientMsgId]);
  assert.deepEqual(await storage.read("outbox"), []);
  end();
});
