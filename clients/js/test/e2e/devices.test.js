/**
 * Devices end with the timeline of the store: the scenario of `tests/integration/test_device.py`.
 *
 * A group switches between push and pull under load, people leave and join again, and the processes
 * of devices are killed. pytest compares what the devices show with the log.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { after, test } from "node:test";

import { openFileStorage } from "../../src/file-storage.js";
import { LocalStore } from "../../src/local-store.js";
import { clientOf, closeAll, newFile, outcome, until } from "./support.js";

const ROUNDS = 4;
const MESSAGES = 30;
const GROUP = "the group";
const PAIR = "ann/bob";
const CROWD = ["陈", "d", "e", "f"];
const WATCHER = new URL("watcher.js", import.meta.url).pathname;

/** A device whose process can be killed and started again. */
class Watcher {
  lives = 0;
  #process = null;

  constructor(user, name, state, options = {}) {
    Object.assign(this, { user, name, state, options, shownFile: `${state}.shown` });
  }

  start() {
    if (this.lives === 0) started.push(this);
    this.lives += 1;
    const { address, ...options } = this.options;
    const env = { ...process.env, IM_TEST_GATEWAY: address ?? process.env.IM_TEST_GATEWAY };
    const given = [WATCHER, this.user, this.state, this.shownFile, JSON.stringify(options)];
    this.#process = spawn(process.execPath, given, { env, stdio: ["ignore", "ignore", "inherit"] });
  }

  async kill() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await ended;
  }

  /** What the device has shown: an item again takes the place of the earlier ones. */
  shown() {
    const found = {};
    if (!existsSync(this.shownFile)) return found;
    const lines = readFileSync(this.shownFile, "utf8").split("\n").slice(0, -1);
    for (const item of lines.map((line) => JSON.parse(line))) {
      const before = (found[item.convId] ??= []);
      while (before.length > 0 && before.at(-1).first >= item.first) before.pop();
      if (before.length > 0) assert.equal(item.first, before.at(-1).last + 1, "out of order");
      before.push(item);
    }
    return found;
  }

  async stored() {
    const storage = await openFileStorage(this.state);
    const store = await LocalStore.open(storage, this.user);
    const found = {};
    for (const { convId, start } of store.conversations()) {
      const items = await store.timeline(convId, start - 1, 10_000);
      found[convId] = { start, items, unread: store.unread(convId) };
    }
    await storage.close();
    return found;
  }
}

const started = [];

after(async () => {
  for (const watcher of started) await watcher.kill();
  await closeAll();
});

test("devices end with the timeline of the store", { timeout: 560_000 }, async () => {
  const make = async (user, name, options) => new Watcher(user, name, await newFile(), options);
  const bob = await make("bob", "killed");
  const desk = await make("bob", "polling", { WebSocket: null });
  const chen = await make("陈", "comes and goes");
  const window = await make("bob", "window", { address: process.env.IM_TEST_WINDOW_GATEWAY });
  const watchers = [bob, desk, chen];
  for (const watcher of watchers) watcher.start();

  const ann = await clientOf("ann");
  const bobClient = await clientOf("bob", { deviceId: "writes" });
  const chenClient = await clientOf("陈", { deviceId: "writes" });
  await outcome(ann.createConversation(["bob"], { convId: GROUP }));
  await outcome(ann.createConversation(["bob"], { convId: PAIR }));
  const heads = { [GROUP]: 0, [PAIR]: 0 };
  let own; // the last messages of ann
  const talk = async (speakers) => {
    const sent = [];
    const conversations = []; // of each
    const bySpeaker = [];
    for (let place = 0; place < MESSAGES; place += 1) {
      const mentions = place % 20 === 7 ? ["bob"] : [];
      const speaker = speakers[place % speakers.length];
      sent.push(await speaker.send(GROUP, `${place} 天气`, { mentions }));
      conversations.push(GROUP);
      if (speaker === ann) bySpeaker.push(sent.at(-1));
      if (place % 6 !== 0) continue;
      sent.push(await ann.send(PAIR, `${place} 天气`));
      conversations.push(PAIR);
    }
    const outcomes = await Promise.all(sent.map((each) => each.outcome));
    assert.equal(new Set(sent.map((each) => each.clientMsgId)).size, sent.length);
    for (const [place, { seq }] of outcomes.entries()) {
      const convId = conversations[place];
      heads[convId] = Math.max(heads[convId], seq);
    }
    own = await Promise.all(bySpeaker.map(async (each) => (await each.outcome).seq));
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    await outcome(ann.addMembers(GROUP, CROWD));
    await talk([ann, bobClient, chenClient]);
    await outcome(ann.edit(GROUP, own.at(-1), `edited in round ${round}`));
    await outcome(ann.recall(GROUP, own.at(-2)));
    for (const member of CROWD) await outcome(ann.removeMember(GROUP, member));
    if (round === 1) {
      window.start();
      watchers.push(window);
    }
    await talk([ann, bobClient]);
    for (const watcher of [bob, chen]) {
      await watcher.kill();
      watcher.start();
    }
  }
  for (const watcher of watchers) {
    await until(() => {
      const shown = watcher.shown();
      const last = (convId) => shown[convId]?.at(-1).last ?? 0;
      if (watcher.user === "陈") return shown[GROUP]?.at(-1).entry?.kind === "members_removed";
      return last(GROUP) >= heads[GROUP] && last(PAIR) >= heads[PAIR];
    }, `${watcher.user} ${watcher.name} shows everything`);
  }
  // The store may have the last entries later than the devices.
  const listed = {};
  const isListed = async (client, convId, seq) => {
    const { conversations } = await client.request("GET", "/v1/conversations");
    listed[client.user] = conversations;
    return conversations.some((each) => each.conv_id === convId && each.head >= seq);
  };
  for (const convId of [GROUP, PAIR]) {
    await until(() => isListed(bobClient, convId, heads[convId]), `bob's list has ${convId}`);
  }
  const { last: removed } = chen.shown()[GROUP].at(-1);
  await until(() => isListed(chenClient, GROUP, removed), "the list of 陈 has the removal");
  const isEqual = async (watcher) => {
    const { [GROUP]: group } = watcher.shown();
    return group.at(-1).last >= listed[watcher.user].find((each) => each.conv_id === GROUP).head;
  };
  for (const watcher of watchers) await until(() => isEqual(watcher), "the head of the list");
  const found = [];
  for (const watcher of watchers) {
    await watcher.kill();
    const { user, name, lives } = watcher;
    const stored = await watcher.stored();
    found.push({ user, name, lives, stored, shown: watcher.shown(), listed: listed[user] });
  }
  await writeFile(process.env.IM_TEST_RESULT, JSON.stringify(found));
});
