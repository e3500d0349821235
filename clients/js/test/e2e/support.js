/** What the tests on the real stack share. `tests/e2e/test_js_client.py` sets the environment. */
import { createHmac } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { connect as connectTcp, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { openFileStorage } from "../../src/file-storage.js";
import { connect } from "../../src/im-timeline.js";

export const ADDRESS = process.env.IM_TEST_GATEWAY;
const PATIENCE_MS = 90_000;

const opened = [];

/** A bearer token of a person for ten minutes. */
export function tokenOf(user) {
  const { IM_TEST_SECRET: secret, IM_TEST_ISSUER: name } = process.env;
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: name, aud: name, sub: user, iat: now, exp: now + 600 };
  const parts = [{ alg: "HS256", typ: "JWT" }, claims].map((part) => {
    return Buffer.from(JSON.stringify(part)).toString("base64url");
  });
  const signature = createHmac("sha256", secret).update(parts.join(".")).digest("base64url");
  return [...parts, signature].join(".");
}

/** A client of a person. `items` collects what it shows. */
export async function clientOf(user, options = {}) {
  const items = [];
  const client = await connect({
    address: ADDRESS, token: () => tokenOf(user), onItem: (item) => items.push(item), ...options,
  });
  opened.push(client);
  return Object.assign(client, { items });
}

/** A file for the state of a client. */
export async function newFile() {
  return join(await mkdtemp(join(tmpdir(), "im-js-")), "state.jsonl");
}

/** A client with a file. */
export async function clientWithFile(user, path, options = {}) {
  return clientOf(user, { storage: await openFileStorage(path), ...options });
}

/** Close all clients of a test. */
export async function closeAll() {
  for (const client of opened.splice(0)) if (client.state !== "closed") await client.close();
}

/** Wait for a condition. */
export async function until(isDone, what, ms = PATIENCE_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await isDone();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The outcome of a command. */
export async function outcome(sent) {
  return (await sent).outcome;
}

/** The texts of a conversation as a client has it. */
export async function textsOf(client, convId) {
  const items = await client.timeline(convId, { limit: 1000 });
  return items.filter((each) => each.entry?.content).map((each) => each.entry.content.text);
}

/** The highest SeqId of a conversation in the store; undefined before the first. */
export async function storedHead(user, convId) {
  const response = await fetch(`${ADDRESS}/v1/conversations`, {
    headers: { authorization: `Bearer ${tokenOf(user)}` },
  });
  const { conversations } = await response.json();
  return conversations.find((each) => each.conv_id === convId)?.head;
}

let number = 0;

/** An id of a new conversation. */
export function newConversation(name) {
  number += 1;
  return `${name}/${process.pid}-${number}`;
}

/** A proxy before the gateway that a test can cut off. */
export class Proxy {
  #server;
  #sockets = new Set();
  #mode = "open";

  static async start() {
    const proxy = new Proxy();
    const { hostname, port } = new URL(ADDRESS);
    proxy.#server = createServer((socket) => proxy.#join(socket, hostname, port));
    await new Promise((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    proxy.address = `http://127.0.0.1:${proxy.#server.address().port}`;
    return proxy;
  }

  /** Break all connections and refuse new ones. */
  cut() {
    this.#mode = "closed";
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Requests arrive, answers do not: the connection breaks at the first byte of an answer. */
  loseAnswers() {
    this.#mode = "deaf";
    for (const socket of this.#sockets) socket.destroy();
  }

  restore() {
    this.#mode = "open";
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop() {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(socket, hostname, port) {
    if (this.#mode === "closed") return socket.destroy();
    const isDeaf = this.#mode === "deaf";
    const gateway = connectTcp(port, hostname);
    const end = () => {
      socket.destroy();
      gateway.destroy();
    };
    for (const each of [socket, gateway]) {
      this.#sockets.add(each);
      each.on("error", end);
      each.on("close", () => {
        this.#sockets.delete(each);
        end();
      });
    }
    socket.pipe(gateway);
    if (isDeaf) gateway.on("data", end);
    else gateway.pipe(socket);
  }
}
