/**
 * The local store: what one device knows, in a storage. Each change writes its entries and the
 * cursor in one write. After a crash, the storage has all of a change or nothing, and the device
 * receives the same records again. Known items are ignored, so records may be repeated and may
 * arrive in any order.
 *
 * The state of all conversations is in memory; the items only of the recently used ones.
 */
import { LocalChange } from "./local-change.js";
import { LocalConversation } from "./local-conversation.js";
import { BEFORE_ALL, certain, isToBeRead } from "./knowledge.js";
import { NOTHING_READ, unreadOf } from "./unread.js";

/** Conversations whose items stay in memory. */
const IN_MEMORY = 50;

/** See `LocalStore.open`. */
export class LocalStore {
  #storage;
  #user;
  #device;
  #conversations;
  #used = new Set();
  #last = Promise.resolve();

  constructor(storage, user) {
    this.#storage = storage;
    this.#user = user;
  }

  /** Open the local store of a person's device in a storage. */
  static async open(storage, user) {
    const store = new LocalStore(storage, user);
    await store.#load();
    return store;
  }

  /** The sync SeqId up to which everything was applied, a BigInt, or `BEFORE_ALL`. */
  get cursor() {
    return this.#device.cursor;
  }

  /** Whether the device has received its start positions. */
  get hasBegun() {
    return this.#device.begun;
  }

  /** Store the start positions of the device, once. Earlier entries are neither read nor shown. */
  async begin(beginning) {
    const named = beginning.starts.map((start) => start.convId);
    await this.#change(named, (change) => {
      if (!this.#device.begun) change.begin(beginning);
    });
  }

  /**
   * Forget all items, because the log has lost records. The device follows from the oldest retained
   * record, and begins each conversation where it began before, or earlier if a new one does now.
   */
  async beginAgain(beginning) {
    await this.#queue(async () => {
      const deleted = [];
      for (const convId of this.#conversations.keys()) {
        deleted.push(["conversation", convId, null]);
        for (const group of [`item:${convId}`, `altered:${convId}`]) {
          for (const [key] of await this.#storage.read(group)) deleted.push([group, key, null]);
        }
      }
      const starts = beginning.starts.map((each) => {
        const before = this.conversation(each.convId)?.start ?? each.first;
        return { ...each, first: Math.min(each.first, before) };
      });
      const device = { cursor: BEFORE_ALL, begun: false, late: false, user: this.#user };
      const change = new LocalChange(device, new Map());
      change.begin({ ...beginning, cursor: BEFORE_ALL, starts });
      await this.#storage.write([...deleted, ...change.writes().map(asStored)]);
      await this.#load();
    });
  }

  /** Apply records of the sync timeline; if they follow the cursor, move the cursor. */
  async apply(batch) {
    const named = batch.arrived.map((record) => record.conv_id).filter(Boolean);
    await this.#change(named, (change) => {
      const follows = batch.after !== null && batch.after <= this.#device.cursor;
      for (const [index, record] of batch.arrived.entries()) {
        change.take(record, batch.places[index], follows);
      }
      if (follows) change.moveCursor(batch.next);
    });
  }

  /** Apply the store's answer about a gap; return whether the answer had anything new. */
  async learn(part) {
    let isNew = false;
    await this.#change([part.convId], (change) => {
      if (part.head < change.conversation(part.convId).joined) return; // from before the join
      for (const item of certain(part)) isNew = change.put(item) || isNew;
    });
    return isNew;
  }

  /**
   * Note how far listed conversations extend. `everything`: all heads, as after a disconnection;
   * otherwise only the heads of conversations that have to be read from the store.
   */
  async noteHeads(listed, everything) {
    await this.#change([], (change) => {
      for (const each of listed) {
        change.noteReading(each);
        if (each.mute) change.mute(each.convId, each.mute.until, BigInt(each.mute.sync_seq));
        if (isToBeRead(change.conversation(each.convId).mode, each, everything)) {
          change.openNew(each.convId, each.since);
          change.noteHead(each.convId, each.head);
        }
      }
    });
  }

  /** Note heads from a live connection; return whether all these conversations are known. */
  async notePushedHeads(heads) {
    let areKnown = true;
    await this.#change([], (change) => {
      for (const [convId, head] of heads) areKnown = change.noteHead(convId, head) && areKnown;
    });
    return areKnown;
  }

  /** Move the cursor forward over records that will not arrive. */
  async skipTo(cursor) {
    await this.#change([], (change) => change.moveCursor(cursor));
  }

  /** What to read next in at most `most` conversations that miss something. */
  async gaps(most) {
    const found = this.conversations().filter((each) => each.through < each.head).slice(0, most);
    const gaps = [];
    await this.#change(found.map((each) => each.convId), (change) => {
      for (const { convId } of found) {
        const span = change.conversation(convId).gap();
        if (span !== null) gaps.push({ convId, ...span });
      }
    });
    return gaps;
  }

  /** Whether a conversation misses something. */
  hasGaps() {
    return this.conversations().some((each) => each.through < each.head);
  }

  /** Up to `most` items to show next, of one conversation, in order, none of them after a gap. */
  async unshown(most) {
    const next = this.conversations().find((each) => each.shown < each.through);
    return next === undefined ? [] : this.timeline(next.convId, next.shown, most);
  }

  /** Note that an item was shown, and thereby all before it. */
  async markShown(item) {
    await this.#change([item.convId], (change) => change.markShown(item.convId, item.last));
  }

  /** Up to `most` items of a conversation above a SeqId, up to the first missing SeqId. */
  async timeline(convId, after, most) {
    return this.#look(convId, [], (conversation) => conversation.between(after, most));
  }

  /** See `LocalConversation.before`. */
  async before(convId, seq, most) {
    return this.#look(convId, [], (conversation) => conversation.before(seq, most));
  }

  /** All known conversations, by id. */
  conversations() {
    const known = [...this.#conversations.values()].filter((each) => each.known);
    return known.sort((one, other) => (one.convId < other.convId ? -1 : 1));
  }

  /** A conversation; null if it is unknown. */
  conversation(convId) {
    const found = this.#conversations.get(convId);
    return found !== undefined && found.known ? found : null;
  }

  /** The number of messages that the owner has not read on any device; null if unknown. */
  unread(convId) {
    return unreadOf(this.reading(convId));
  }

  /** How far the owner has read a conversation on any device: see `unread.js`. */
  reading(convId) {
    return this.#conversations.get(convId)?.reading ?? NOTHING_READ;
  }

  /** The end of the owner's mute, in milliseconds since 1970; 0 without a mute. */
  mutedUntil(convId) {
    return this.#conversations.get(convId)?.mutedUntil ?? 0;
  }

  /** Whether the unread number of some conversation is unknown. */
  lacksCount() {
    return [...this.#conversations.values()].some((each) => unreadOf(each.reading) === null);
  }

  /** Whether some conversation has to be read from the store (mode pull). */
  readsStore() {
    return this.conversations().some((each) => each.mode === "pull");
  }

  async #look(convId, otherwise, read) {
    let found = otherwise;
    if (this.conversation(convId) === null) return found;
    await this.#change([convId], (change) => {
      found = read(change.conversation(convId));
    });
    return found;
  }

  /** Run one change after the other. After a failed write, memory is read from the storage again. */
  async #change(named, work) {
    return this.#queue(() => this.#run(new Set(named), work));
  }

  async #queue(work) {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  async #run(named, work) {
    for (const convId of named) await this.#fill(convId);
    const change = new LocalChange(this.#device, this.#conversations);
    try {
      work(change);
      const writes = change.writes().map(asStored);
      if (writes.length > 0) await this.#storage.write(writes);
    } catch (error) {
      await this.#load();
      throw error;
    }
    this.#evict();
  }

  async #fill(convId) {
    const conversation = this.#conversations.get(convId);
    if (conversation !== undefined && conversation.items === null) {
      const items = await this.#storage.read(`item:${convId}`);
      conversation.fill(items, await this.#storage.read(`altered:${convId}`));
    }
    this.#used.delete(convId);
    this.#used.add(convId);
  }

  #evict() {
    for (const convId of this.#used) {
      if (this.#used.size <= IN_MEMORY) return;
      this.#used.delete(convId);
      const conversation = this.#conversations.get(convId);
      if (conversation !== undefined) conversation.items = conversation.altered = null;
    }
  }

  async #load() {
    const [found] = await this.#storage.read("device");
    const stored = found === undefined ? {} : { ...found[1], cursor: BigInt(found[1].cursor) };
    this.#device = { cursor: BEFORE_ALL, begun: false, late: false, ...stored, user: this.#user };
    const rows = await this.#storage.read("conversation");
    this.#conversations = new Map(
      rows.map(([convId, row]) => [convId, new LocalConversation(convId, row)]),
    );
    this.#used.clear();
  }
}

function asStored([group, key, value]) {
  if (value instanceof LocalConversation) return [group, key, value.stored()];
  if (group === "device") return [group, key, { ...value, cursor: String(value.cursor) }];
  return [group, key, value];
}
