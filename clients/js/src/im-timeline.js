/**
 * A client of im-timeline for browsers and Node, without dependencies: `connect` is the entry.
 * `im-timeline.d.ts` describes the types; docs/javascript.md describes the use.
 */
import { hasBrowserStorage, openBrowserStorage } from "./browser-storage.js";
import { newestFirst } from "./conversation-list.js";
import { Device } from "./device.js";
import { Devices } from "./devices.js";
import { GatewayHttp, pause } from "./http.js";
import { storedDevice, userOf } from "./identity.js";
import { nextId } from "./ids.js";
import { LiveSource } from "./live-source.js";
import { LocalStore } from "./local-store.js";
import { Outbox } from "./outbox.js";
import { MemoryStorage } from "./storage.js";
import { Timelines, pathOf } from "./timelines.js";

export * from "./errors.js";
export { userOf } from "./identity.js";
export { MemoryStorage } from "./storage.js";
export { deleteBrowserStorage, openBrowserStorage } from "./browser-storage.js";

/** Interval of the search for unsent commands of closed windows. */
const ORPHANS_MS = 60_000;

/** Connect a person's device. Resolves when the local state is open; the network may be away. */
export async function connect(options) {
  const token = typeof options.token === "function" ? options.token : () => options.token;
  const user = options.user ?? userOf(await token());
  const storage = options.storage ?? (await defaultStorage(user));
  const deviceId = options.deviceId ?? storage.deviceId ?? (await storedDevice(storage));
  const client = new Client({ ...options, token, user, storage, deviceId });
  await client.start();
  return client;
}

/** See `connect`. */
export class Client extends EventTarget {
  #options;
  #closing = new AbortController();
  #http;
  #timelines;
  #source;
  #store;
  #outbox;
  #device;
  #devices;
  #running = Promise.resolve();
  #state = "connecting";

  constructor(options) {
    super();
    this.#options = options;
  }

  get user() {
    return this.#options.user;
  }

  get deviceId() {
    return this.#options.deviceId;
  }

  /** `connecting`, `online`, `offline`, `refused` (the token is not accepted) or `closed`. */
  get state() {
    return this.#state;
  }

  /** The number of commands without an outcome. */
  get unsent() {
    return this.#outbox.size;
  }

  /** The devices of the person, and the push address of this one: see `Devices`. */
  get devices() {
    return this.#devices;
  }

  async start() {
    const { storage, user, deviceId, window = null, WebSocket } = this.#options;
    const { signal } = this.#closing;
    this.#http = new GatewayHttp({ ...this.#options, signal });
    this.#timelines = new Timelines(this.#http);
    this.#store = await LocalStore.open(storage, user);
    const parts = { storage, http: this.#http, user, deviceId, signal };
    this.#outbox = await Outbox.open(parts, (...change) => this.#noteOutbox(...change));
    const Socket = WebSocket === undefined ? globalThis.WebSocket : (WebSocket ?? undefined);
    this.#source = new LiveSource(this.#http, this.#timelines, Socket, signal);
    this.#device = new Device(
      {
        store: this.#store, source: this.#source, timelines: this.#timelines, deviceId, window,
        show: (item) => this.#show(item),
        observe: (record) => this.#observe(record),
        restart: () => this.#emit("reset", null),
        onState: (state) => this.#setState(state),
      },
      signal,
    );
    this.#devices = new Devices(this.#http, deviceId, () => this.#store.hasBegun);
    globalThis.window?.addEventListener("online", this.nudge, { signal });
    globalThis.window?.addEventListener("offline", () => this.#source.drop(), { signal });
    this.#outbox.start();
    this.#running = this.#run();
    if (storage.adoptOrphans !== undefined) void this.#adoptOrphans();
  }

  /** Retry now: the network may have returned. */
  nudge = () => {
    this.#source.nudge();
    this.#device.nudge();
    this.#outbox.nudge();
  };

  /** Whether the person looks at this device; a person without an active device gets notifications. */
  setActive(isActive) {
    this.#source.setActive(isActive);
  }

  /** Stop. Commands without an outcome remain in the storage. */
  async close() {
    this.#closing.abort();
    this.#outbox.close();
    await this.#running;
    await this.#options.storage.close();
    this.#setState("closed");
  }

  /** All known conversations, the most recent one first. */
  conversations() {
    return newestFirst(this.#store.conversations());
  }

  /** The number of messages that nobody of the person's devices has read; null if unknown now. */
  unread(convId) {
    return this.#store.unread(convId);
  }

  /** Up to `limit` items above a SeqId that this device has, up to the first missing one. */
  async timeline(convId, { after = 0, limit = 100 } = {}) {
    return this.#store.timeline(convId, after, limit);
  }

  /**
   * Up to `limit` items below a SeqId, in order: from this device, or else from the gateway. null:
   * the last items that this device has.
   */
  async before(convId, seq, { limit = 100 } = {}) {
    const found = await this.#store.before(convId, seq, limit);
    if (found.length > 0 || seq === null || seq <= 1) return found;
    const page = await this.history(convId, { to: seq - 1, order: "desc", limit });
    return page.items.reverse();
  }

  /** A page of history from the gateway: `{head, items, next}`. */
  async history(convId, { from, to, order, limit } = {}) {
    return this.#timelines.history(convId, { from, to, order, limit });
  }

  /** A page of messages that match a query: `{hits, next, cut}`. */
  async search(q, { conversation, sender, limit, cursor } = {}) {
    const query = { q, conversation, sender, limit, cursor };
    return this.#http.send("GET", "/v1/search", { query });
  }

  /** Any other request to the gateway; the answer's body. */
  async request(method, path, { query, body } = {}) {
    return this.#http.send(method, path, { query, body });
  }

  /** Commands of a conversation without an outcome, in order. */
  pending(convId) {
    return this.#outbox.pending(convId);
  }

  /** Create a conversation. All commands resolve when they are stored: see `Outbox.put`. */
  async createConversation(members, { convId = nextId(null), ...settings } = {}) {
    const body = { conv_id: convId, members, ...settings };
    const sent = await this.#command(convId, "create", "POST", "/v1/conversations", body);
    return { convId, ...sent };
  }

  /** Get or create the one chat with another person; resolves with its id. Needs the network. */
  async direct(user) {
    const path = `/v1/direct/${encodeURIComponent(user)}`;
    return (await this.#http.send("PUT", path)).conv_id;
  }

  /** Up to 200 present members, by id, from the gateway: `{user, seq, joined, owner}`. */
  async members(convId) {
    const path = `${pathOf(convId)}/members`;
    return (await this.#http.send("GET", path, { query: { limit: 200 } })).members;
  }

  /** Send a message. */
  async send(convId, text, { mentions = [] } = {}) {
    const path = `${pathOf(convId)}/messages`;
    return this.#command(convId, "send", "POST", path, { text, mentions });
  }

  /** Replace the text and the mentions of a message. */
  async edit(convId, seq, text, { mentions = [] } = {}) {
    const path = `${pathOf(convId)}/messages/${seq}`;
    return this.#command(convId, "edit", "PUT", path, { text, mentions });
  }

  /** Recall a message. */
  async recall(convId, seq) {
    return this.#command(convId, "recall", "DELETE", `${pathOf(convId)}/messages/${seq}`, {});
  }

  /** Mark all entries up to a SeqId as read. A mark that was not sent yet is replaced. */
  async markRead(convId, seq) {
    const path = `${pathOf(convId)}/read`;
    return this.#command(convId, "read", "PUT", path, { seq }, { replaces: true });
  }

  /** Mute until a time in milliseconds since 1970; null: without an end. 0 ends a mute. */
  async mute(convId, until = null) {
    const body = until === null ? {} : { until };
    return this.#command(convId, "mute", "PUT", `${pathOf(convId)}/mute`, body, { replaces: true });
  }

  /** Set the name, or the metadata (a JSON object as text); an empty text removes the value. */
  async describe(convId, { name, metadata }) {
    const path = `${pathOf(convId)}/description`;
    return this.#command(convId, "describe", "PUT", path, { name, metadata });
  }

  /** Add members. */
  async addMembers(convId, members) {
    return this.#command(convId, "add", "POST", `${pathOf(convId)}/members`, { members });
  }

  /** Remove a member. */
  async removeMember(convId, user) {
    const path = `${pathOf(convId)}/members/${encodeURIComponent(user)}`;
    return this.#command(convId, "remove", "DELETE", path, {});
  }

  /** Leave a conversation. */
  async leave(convId) {
    return this.#command(convId, "leave", "POST", `${pathOf(convId)}/leave`, {});
  }

  /** Call `listener` with the detail of each event of a type, until the signal aborts. */
  on(type, listener, { signal } = {}) {
    this.addEventListener(type, ({ detail }) => listener(detail), { signal });
  }

  #command(convId, kind, method, path, body, how) {
    return this.#outbox.put({ convId, kind, method, path, body }, how);
  }

  async #run() {
    try {
      await this.#device.run();
    } catch (error) {
      this.#emit("error", error);
      this.#setState("refused");
    }
  }

  async #show(item) {
    await this.#options.onItem?.(item);
    this.#emit("item", item);
  }

  async #observe(record) {
    await this.#outbox.observe(record);
    this.#emit("record", record);
  }

  #noteOutbox(convId, error = null, command = null, outcome = null) {
    this.#emit("outbox", { convId, error, command, outcome });
  }

  #setState(state) {
    const isNews = state !== this.#state;
    this.#state = state;
    if (isNews) this.#emit("state", state);
    if (state === "online") this.#emit("settled", null);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async #adoptOrphans() {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#options.storage.adoptOrphans((commands) => this.#outbox.adopt(commands));
      await pause(ORPHANS_MS, signal);
    }
  }
}

async function defaultStorage(user) {
  return hasBrowserStorage() ? openBrowserStorage(user) : new MemoryStorage();
}
