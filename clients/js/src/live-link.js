/**
 * One live connection: its messages, in order, until it ends. Messages that the device has not taken
 * wait in a queue. The queue is bounded: a device that does not take its messages loses the
 * connection, and continues after its cursor later.
 */
import { Trimmed } from "./errors.js";
import { parseJson } from "./http.js";
import { batchOf } from "./timelines.js";

const PROTOCOL = "im-timeline.v1";
const BEGIN_MS = 10_000;
const MOST_MESSAGES = 64;

/** The gateway is about to end; other gateways serve on. */
const SERVICE_RESTART = 1012;

/**
 * A link. `cursor`: the next message to take follows this cursor. `isSentElsewhere`: the gateway has
 * closed the connection because it is about to end.
 */
export class LiveLink {
  #socket;
  #messages = [];
  #wake = () => {};
  #isNew = true;

  constructor(socket, cursor) {
    this.#socket = socket;
    this.cursor = cursor;
    this.isOver = false;
    this.isSentElsewhere = false;
    this.heardAt = Date.now();
    socket.addEventListener("message", ({ data }) => this.#take(parseJson(data)));
    this.ended = new Promise((resolve) => {
      const end = ({ code }) => {
        this.isOver = true;
        this.isSentElsewhere ||= code === SERVICE_RESTART;
        this.#wake();
        resolve();
      };
      socket.addEventListener("close", end);
      socket.addEventListener("error", end);
    });
  }

  /** Open a connection; resolves with the link when the gateway pushes, or with null. */
  static async open(Socket, url, token, cursor) {
    let socket;
    try {
      socket = new Socket(url, [PROTOCOL, `bearer.${token}`]);
    } catch {
      return null;
    }
    const link = new LiveLink(socket, cursor);
    await link.#until(() => link.isOver || link.#messages.length > 0, BEGIN_MS);
    if (link.#messages.shift()?.kind === "begun") return link;
    link.close();
    return null;
  }

  /** Whether every message was taken and no more arrive. */
  get isEmpty() {
    return this.isOver && this.#messages.length === 0;
  }

  /**
   * The next batch; one without records after `waitMs`. The first batch only reports the beginning:
   * its `heads` are null, so the device requests all heads. Throws `Trimmed`.
   */
  async next(cursor, waitMs) {
    if (this.#isNew) {
      this.#isNew = false;
      return nothing(cursor, null);
    }
    await this.#until(() => this.isOver || this.#messages.length > 0, waitMs);
    const message = this.#messages.shift();
    if (message?.kind === "records") {
      const before = this.cursor;
      this.cursor = BigInt(message.next);
      return batchOf(message, before, new Map());
    }
    if (message?.kind === "head") return nothing(cursor, new Map([[message.conv_id, message.seq]]));
    if (message?.kind === "problem" && message.problem.oldest !== undefined) {
      const oldest = BigInt(message.problem.oldest);
      if (oldest - 1n > cursor) throw new Trimmed(BigInt(message.problem.cursor), oldest);
    }
    return nothing(cursor, new Map());
  }

  /** Tell the gateway whether the person looks at the device. */
  tell(isActive) {
    this.#socket.send(JSON.stringify({ kind: "presence", active: isActive }));
  }

  /** End a wait in `next`. */
  interrupt() {
    this.#wake();
  }

  /** End the connection. May be called again. */
  close() {
    this.isOver = true;
    this.#wake();
    this.#socket.close();
  }

  #take(message) {
    this.heardAt = Date.now();
    this.#messages.push(message);
    if (this.#messages.length > MOST_MESSAGES) this.close();
    this.#wake();
  }

  /** Wait for a condition, an interruption, or the end of the time. */
  async #until(isDone, ms) {
    if (isDone() || ms <= 0) return;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => {};
  }
}

function nothing(cursor, heads) {
  return { after: null, arrived: [], places: [], next: cursor, more: false, heads };
}
