/** The client on the real stack: its outbox, two devices in step, history, search, unread counts. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { CommandRejected } from "../../src/im-timeline.js";
import {
  Proxy, clientOf, clientWithFile, closeAll, newConversation, newFile, outcome, storedHead, textsOf,
  until,
} from "./support.js";

afterEach(closeAll);

test("what is sent offline is sent once, in order, by the next process", async () => {
  const proxy = await Proxy.start();
  const path = await newFile();
  const conv = newConversation("offline");
  const before = await clientWithFile("ann", path, { address: proxy.address });
  await outcome(before.createConversation(["bob"], { convId: conv }));
  await until(() => before.state === "online", "online");
  proxy.cut();
  for (const text of ["one", "two", "three"]) await before.send(conv, text);
  await until(() => before.state === "offline", "offline");
  assert.deepEqual(before.pending(conv).map((each) => each.body.text), ["one", "two", "three"]);
  await before.close();

  const again = await clientWithFile("ann", path, { address: proxy.address });
  assert.equal(again.deviceId, before.deviceId);
  assert.equal(again.unsent, 3);
  const last = await again.send(conv, "four");
  proxy.restore();
  again.nudge();
  assert.equal((await last.outcome).seq, 5);
  assert.equal(again.unsent, 0);
  await until(async () => (await textsOf(again, conv)).length === 4, "all texts");
  assert.deepEqual(await textsOf(again, conv), ["one", "two", "three", "four"]);
  await proxy.stop();
});

test("a lost answer causes no second message", async () => {
  const proxy = await Proxy.start();
  const conv = newConversation("lost");
  const ann = await clientOf("ann", { address: proxy.address });
  const other = await clientOf("ann", { deviceId: "other" });
  await outcome(ann.createConversation(["bob"], { convId: conv }));
  proxy.loseAnswers();
  const sent = await ann.send(conv, "once");
  await until(async () => (await textsOf(other, conv)).length === 1, "the message arrived");
  proxy.restore();
  ann.nudge();
  assert.equal((await sent.outcome).seq, 2);
  assert.equal((await outcome(ann.send(conv, "twice"))).seq, 3);
  await until(async () => (await textsOf(other, conv)).length === 2, "both messages");
  assert.deepEqual(await textsOf(other, conv), ["once", "twice"]);
  await proxy.stop();
});

test("two devices of one person stay in step, also over a broken connection", async () => {
  const proxy = await Proxy.start();
  const conv = newConversation("step");
  const ann = await clientOf("ann");
  const phone = await clientOf("bob", { deviceId: "phone", address: proxy.address });
  const desk = await clientOf("bob", { deviceId: "desk", WebSocket: null });
  await outcome(ann.createConversation(["bob"], { convId: conv }));
  for (const text of ["a", "b", "c"]) await outcome(ann.send(conv, text));
  for (const device of [phone, desk]) {
    await until(() => device.unread(conv) === 3, "three unread messages");
  }
  await outcome(desk.markRead(conv, 3));
  for (const device of [phone, desk]) {
    await until(() => device.unread(conv) === 1, "one unread message");
  }
  const mutedUntil = (device) => device.conversations()[0].mutedUntil;
  await outcome(phone.mute(conv));
  for (const device of [phone, desk]) {
    await until(() => mutedUntil(device) > Date.now(), "a mute without an end");
  }
  await outcome(desk.mute(conv, 7));
  for (const device of [phone, desk]) {
    await until(() => mutedUntil(device) === 7, "the end of the mute");
  }
  assert.equal(mutedUntil(ann), 0);
  proxy.cut();
  await outcome(ann.edit(conv, 2, "A"));
  await outcome(ann.recall(conv, 3));
  await outcome(ann.send(conv, "d"));
  proxy.restore();
  phone.nudge();
  for (const device of [phone, desk]) {
    await until(async () => (await textsOf(device, conv)).includes("d"), "the last message");
    const items = await device.timeline(conv);
    const texts = items.filter((each) => each.entry?.kind === "message_sent");
    assert.deepEqual(texts.map((each) => each.entry.content.text), ["A", "c", "d"]);
    assert.deepEqual(items.map((each) => each.hole), [
      null, null, "recalled", null, null, null, null,
    ]);
    assert.equal(items[1].entry.edited, 5);
    assert.equal(device.unread(conv), 2);
  }
  await proxy.stop();
});

test("a device reads history that it does not have, and finds messages", async () => {
  const conv = newConversation("history");
  const ann = await clientOf("ann");
  await outcome(ann.createConversation(["bob"], { convId: conv }));
  const texts = Array.from({ length: 25 }, (_, place) => `Nummer ${place} 咖啡馆`);
  for (const text of texts) await outcome(ann.send(conv, text));
  await until(async () => (await storedHead("ann", conv)) === 26, "stored");
  const late = await clientOf("bob", { deviceId: "late", window: 5 });
  await until(() => late.conversations().some((each) => each.convId === conv), "listed");
  await until(async () => (await late.timeline(conv)).length === 5, "the window");
  const own = await late.timeline(conv);
  assert.deepEqual(own.map((each) => each.first), [22, 23, 24, 25, 26]);
  assert.deepEqual((await late.before(conv, 26, { limit: 2 })).map((each) => each.first), [24, 25]);
  const older = await late.before(conv, 22, { limit: 10 });
  assert.deepEqual(older.map((each) => each.first), [12, 13, 14, 15, 16, 17, 18, 19, 20, 21]);
  assert.deepEqual(await late.before(conv, 1), []);
  assert.equal(late.unread(conv), 25);
  const found = await until(async () => {
    const page = await late.search("咖啡", { conversation: conv, limit: 100 });
    return page.hits.length === 25 ? page : null;
  }, "all messages are indexed");
  assert.equal(found.hits[0].content.text, texts.at(-1));
});

test("a person who is not a member learns that the command is rejected", async () => {
  const conv = newConversation("closed");
  const ann = await clientOf("ann");
  const eve = await clientOf("eve");
  await outcome(ann.createConversation(["bob"], { convId: conv }));
  const sent = await eve.send(conv, "hello");
  await assert.rejects(sent.outcome, (error) => {
    return error instanceof CommandRejected && error.code === "not_a_member";
  });
  assert.equal(eve.unsent, 0);
});

test("a device registers and removes its push address", async () => {
  const old = await clientOf("pia", { deviceId: "old" });
  const fresh = await clientOf("pia", { deviceId: "new" });
  const lost = await clientOf("pia", { deviceId: "lost" });
  const hook = (path) => ({ provider: "webhook", url: `https://hooks.example/${path}` });
  await old.devices.registerPush({
    provider: "matrix", gateway: "https://push.example/_matrix/push/v1/notify",
    app_id: "org.example", pushkey: "k",
  });
  await fresh.devices.registerPush(hook("earlier"));
  await fresh.devices.registerPush(hook("new"));
  await lost.devices.registerPush(hook("lost"));
  const ids = async () => (await old.devices.list()).map(({ deviceId }) => deviceId);
  assert.deepEqual(await ids(), ["lost", "new", "old"]);
  await lost.close();
  await old.devices.remove("lost");
  assert.deepEqual(await ids(), ["new", "old"]);
  const gone = await clientOf("pia", { deviceId: "gone" });
  await gone.devices.registerPush({
    provider: "web_push", endpoint: "https://push.example/send/1",
    p256dh: await old.devices.pushKey(), auth: "A".repeat(22), // any point of the curve
  });
  await gone.devices.removePush();
  await assert.rejects(old.devices.registerPush({ provider: "webhook", url: "https://127.0.0.1/" }), {
    kind: "bad-body",
  });
});

test("a client with a wrong token ends, and keeps its commands", async () => {
  const path = await newFile();
  const refused = await clientWithFile("ann", path, { token: "a.b.c", user: "ann" });
  await refused.send("anything", "hello");
  await until(() => refused.state === "refused", "refused");
  assert.equal(refused.unsent, 1);
});
