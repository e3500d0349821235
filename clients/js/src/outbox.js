/**
 * The outbox: commands without an outcome, in order, in the storage of the client. A command is
 * stored before it is sent, and sent again until its outcome is known: the gateway answers a repeated
 * command with its first outcome. So a command has one effect, whatever fails.
 *
 * The commands of one conversation are sent one after the other, because their ids have to increase.
 */
import { ClientClosed, CommandRejected, GatewayUnavailable, RequestRefused } from "./errors.js";
import { backoff, pause } from "./http.js";
import { nextId, randomHex } from "./ids.js";

const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 20_000;

/** The gateway has an accepted command, and its outcome usually arrives by sync before this time. */
const ACCEPTED_MS = 15_000;

/** See `Outbox.open`. */
export class Outbox {
  #storage;
  #http;
  #user;
  #deviceId;
  #signal;
  #onChange;
  #installation;
  #lastId = null;
  #lastPosition = 0;
  #entries = new Map(); // by client_msg_id, in order
  #active = new Set();
  #nudge = new AbortController();
  #putting = Promise.resolve();

  constructor(parts, onChange) {
    this.#storage = parts.storage;
    this.#http = parts.http;
    this.#user = parts.user;
    this.#deviceId = parts.deviceId;
    this.#signal = parts.signal;
    this.#onChange = onChange;
  }

  /** Open the outbox in a storage; `start` sends its commands. `onChange(convId)` after a change. */
  static async open(parts, onChange) {
    const outbox = new Outbox(parts, onChange);
    await outbox.#load();
    return outbox;
  }

  /** Send the commands that the storage has. */
  start() {
    for (const convId of new Set([...this.#entries.values()].map((each) => each.convId))) {
      void this.#dispatch(convId);
    }
  }

  /**
   * Store a command, and send it. `command`: `{convId, kind, method, path, body}`. With `replaces`,
   * the command takes the place of one of the same kind that was not sent yet.
   *
   * Resolves when the command is stored, with `{clientMsgId, outcome}`; `outcome` is a promise of
   * `{seq, at}` that may fail with `CommandRejected` or `ClientClosed`.
   */
  async put(command, { replaces = false } = {}) {
    const done = this.#putting.then(() => this.#put(command, replaces));
    this.#putting = done.catch(() => {});
    return done;
  }

  /** Take commands of another outbox, whose ids and installations remain. */
  async adopt(commands) {
    const fresh = commands.filter((each) => !this.#entries.has(each.body.client_msg_id));
    const added = fresh.map((each) => [++this.#lastPosition, each]);
    await this.#storage.write(added.map(([position, each]) => ["outbox", position, each]));
    for (const [position, each] of added) this.#add(position, each);
    this.start();
  }

  /** Commands without an outcome, in order: `{convId, kind, body, at, state, clientMsgId}`. */
  pending(convId) {
    const all = [...this.#entries.values()].filter((each) => each.convId === convId);
    return all.map(({ kind, path, body, at, state }) => ({
      convId, kind, path, body, at, state, clientMsgId: body.client_msg_id,
    }));
  }

  /** The number of commands without an outcome. */
  get size() {
    return this.#entries.size;
  }

  /** Learn the outcome of a command from a record of the sync timeline. */
  async observe(record) {
    const entry = this.#entries.get(record.client_msg_id);
    if (entry === undefined || record.sender !== this.#user) return;
    if (record.kind === "rejected") {
      await this.#settle(entry, null, new CommandRejected(record.code, record.client_msg_id));
    } else {
      await this.#settle(entry, { seq: record.seq, at: record.at });
    }
  }

  /** Send again without delay, for example when the network has returned. */
  nudge() {
    this.#nudge.abort();
    this.#nudge = new AbortController();
  }

  /** Fail the promises of the outcomes. The commands remain in the storage. */
  close() {
    for (const entry of this.#entries.values()) {
      clearTimeout(entry.timer);
      entry.fail(new ClientClosed("the client is closed; the command remains in the outbox"));
    }
  }

  async #load() {
    const identity = new Map(await this.#storage.read("identity"));
    this.#lastId = identity.get("last_id") ?? null;
    this.#installation = identity.get("installation") ?? randomHex(16);
    if (!identity.has("installation")) {
      await this.#storage.write([["identity", "installation", this.#installation]]);
    }
    for (const [position, stored] of await this.#storage.read("outbox")) {
      this.#lastPosition = Math.max(this.#lastPosition, position);
      this.#add(position, stored);
    }
  }

  async #put({ convId, kind, method, path, body }, replaces) {
    if (this.#signal.aborted) throw new ClientClosed("the client is closed");
    const id = nextId(this.#lastId);
    const ids = {
      client_msg_id: id, device_id: this.#deviceId, installation: this.#installation,
    };
    const stored = { convId, kind, method, path, body: { ...body, ...ids }, at: Date.now() };
    const replaced = replaces ? this.#unsent(convId, kind) : null;
    const position = this.#lastPosition + 1;
    const deleted = replaced === null ? [] : [["outbox", replaced.position, null]];
    await this.#storage.write([
      ["outbox", position, stored], ["identity", "last_id", id], ...deleted,
    ]);
    this.#lastPosition = position;
    this.#lastId = id;
    const entry = this.#add(position, stored);
    if (replaced !== null) {
      this.#entries.delete(replaced.body.client_msg_id);
      entry.outcome.then(replaced.resolve, replaced.fail);
    }
    this.#onChange(convId);
    void this.#dispatch(convId);
    return { clientMsgId: id, outcome: entry.outcome };
  }

  #add(position, stored) {
    const entry = { ...stored, position, state: "queued", timer: undefined };
    entry.outcome = new Promise((resolve, reject) => {
      entry.resolve = resolve;
      entry.fail = reject;
    });
    entry.outcome.catch(() => {}); // the application may not be interested
    this.#entries.set(stored.body.client_msg_id, entry);
    return entry;
  }

  #unsent(convId, kind) {
    const all = [...this.#entries.values()];
    const found = all.find((each) => each.convId === convId && each.kind === kind);
    return found !== undefined && found.state === "queued" ? found : null;
  }

  async #dispatch(convId) {
    if (this.#active.has(convId)) return;
    this.#active.add(convId);
    try {
      for (let failures = 0; !this.#signal.aborted; ) {
        const all = [...this.#entries.values()];
        const entry = all.find((each) => each.convId === convId && each.state === "queued");
        if (entry === undefined) return;
        const retryMs = await this.#attempt(entry);
        failures = retryMs === null ? 0 : failures + 1;
        if (retryMs === null) continue;
        const ms = Math.max(retryMs, backoff(failures, FIRST_PAUSE_MS, LONGEST_PAUSE_MS));
        await pause(ms, AbortSignal.any([this.#signal, this.#nudge.signal]));
      }
    } finally {
      this.#active.delete(convId);
    }
  }

  /** Send a command once. Returns null if the next one may follow, otherwise a pause in ms. */
  async #attempt(entry) {
    entry.state = "sending";
    try {
      const { method, path, body } = entry;
      const answer = await this.#http.once(method, path, { body });
      if (answer.status === 202) this.#accept(entry);
      else await this.#settle(entry, { seq: answer.body.seq, at: answer.body.at });
      return null;
    } catch (error) {
      const isRefused = error instanceof RequestRefused;
      if (isRefused && error.status !== 401) {
        const code = error.problem?.code ?? error.kind;
        await this.#settle(entry, null, new CommandRejected(code, entry.body.client_msg_id));
        return null;
      }
      if (entry.state === "sending") entry.state = "queued";
      if (isRefused || error instanceof ClientClosed) return 0;
      if (error instanceof GatewayUnavailable) return error.retryAfterMs ?? 0;
      return LONGEST_PAUSE_MS; // such as a token that cannot be read now
    }
  }

  #accept(entry) {
    entry.state = "accepted";
    entry.timer = setTimeout(() => {
      entry.state = "queued";
      void this.#dispatch(entry.convId);
    }, ACCEPTED_MS);
    this.#onChange(entry.convId);
  }

  async #settle(entry, outcome, error = null) {
    const id = entry.body.client_msg_id;
    if (this.#entries.get(id) !== entry) return;
    this.#entries.delete(id);
    clearTimeout(entry.timer);
    entry.state = "settled";
    if (error === null) entry.resolve(outcome);
    else entry.fail(error);
    this.#onChange(entry.convId, error, entry, outcome);
    try {
      await this.#storage.write([["outbox", entry.position, null]]);
    } catch {
      // The command is sent again after the next start, which has no second effect.
    }
  }
}
