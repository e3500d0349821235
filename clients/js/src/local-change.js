/** One change of a local store: it alters conversations in memory and notes what is to be written. */
import { LocalConversation } from "./local-conversation.js";
import { RECALLED, REMEMBERED, isJoinOf, isKnownEntry, standingAfter } from "./knowledge.js";
import { missing, reach } from "./spans.js";
import { afterEntry, endsAt, readTo } from "./unread.js";

/**
 * A change. The conversations that it names have their items in memory.
 *
 * `device`: `{user, cursor, begun, late}`; `conversations`: by id.
 */
export class LocalChange {
  #device;
  #conversations;
  #writes = new Map();

  constructor(device, conversations) {
    this.#device = device;
    this.#conversations = conversations;
  }

  /** The triples that the storage has to write. */
  writes() {
    return [...this.#writes.values()];
  }

  /** The conversation; a new one if it is unknown. */
  conversation(convId) {
    let found = this.#conversations.get(convId);
    if (found === undefined) {
      found = new LocalConversation(convId);
      found.fill([], []);
      this.#conversations.set(convId, found);
    }
    return found;
  }

  /** Move the cursor forward, never back. */
  moveCursor(cursor) {
    if (cursor > this.#device.cursor) this.#setDevice({ cursor });
  }

  /** Store the start positions; a device that has data already retains its own. */
  begin(beginning) {
    const isFresh = this.#device.cursor < 0n && ![...this.#conversations.values()].some(isKnown);
    this.#setDevice({ begun: true });
    if (!isFresh) return;
    this.#setDevice({ cursor: beginning.cursor, late: beginning.isLate });
    for (const { convId, first, head, mode } of beginning.starts) {
      const opened = this.#open(convId, first);
      opened.head = Math.max(opened.head, head);
      Object.assign(opened, { mode, modeSeq: head });
    }
  }

  /** Whether a conversation is unknown and this device did not start with everything. */
  isNew(convId) {
    return this.#device.late && !(this.#conversations.get(convId)?.known ?? false);
  }

  /** If a conversation is new, store the SeqId from which the device shows it. */
  openNew(convId, first) {
    if (this.isNew(convId)) this.#open(convId, first);
  }

  /** Store a mute, unless one with a higher sync SeqId is stored. */
  mute(convId, until, place) {
    const conversation = this.conversation(convId);
    if (place <= BigInt(conversation.mutedBy)) return;
    Object.assign(conversation, { mutedUntil: until, mutedBy: String(place) });
    this.#note("conversation", convId, conversation);
  }

  /** Apply one record of the sync timeline. Records of unknown kinds change nothing. */
  take(record, place, follows) {
    const { kind, conv_id: convId, seq } = record;
    if (isKnownEntry(record)) {
      this.#takeItem({ convId, first: seq, last: seq, hole: null, entry: record }, follows);
    } else if (kind === "recalled") {
      this.#takeItem({ convId, first: seq, last: seq, hole: RECALLED, entry: null }, follows);
    } else if (kind === "read_marked") {
      this.#markRead(convId, seq);
    } else if (kind === "conversation_muted") {
      this.mute(convId, record.until, place);
    } else if (kind === "retracted") {
      this.#recall(this.conversation(convId), [record.target, ...record.edits]);
    }
  }

  /** Store the unknown parts of an item; return whether there were any. */
  put(item) {
    const conversation = this.conversation(item.convId);
    if (item.hole === null) {
      this.#read(conversation, afterEntry(conversation.reading, item.entry, this.#device.user));
    }
    if (item.last < conversation.start) return false;
    const first = Math.max(item.first, conversation.start);
    const fresh = missing({ first, last: item.last }, conversation.from(first));
    let stored = item;
    if (item.hole === null) stored = conversation.withAlterations(item);
    else if (item.hole === RECALLED) this.#recall(conversation, seqsOf(first, item.last));
    for (const part of fresh) this.#insert(conversation, { ...stored, ...part });
    if (fresh.length === 0) return false;
    this.#advance(conversation, item);
    if (stored.hole === null) {
      this.#applyAlteration(conversation, stored.entry);
      this.#applyJoin(conversation, stored.entry);
    }
    return true;
  }

  /** Store the end of a conversation and the owner's read mark, as the store lists them. */
  noteReading(listed) {
    const conversation = this.conversation(listed.convId);
    const reading = endsAt(conversation.reading, listed.head, listed.messages);
    if (typeof listed.name === "string" && listed.head >= conversation.nameSeq) {
      Object.assign(conversation, { name: listed.name, nameSeq: listed.head });
    }
    this.#read(conversation, readTo(reading, listed.read, listed.messages - listed.unread));
  }

  /** Store a known head; return whether the conversation is known. */
  noteHead(convId, head) {
    const conversation = this.conversation(convId);
    const wasKnown = conversation.known;
    if (wasKnown || !this.#device.late) {
      conversation.head = Math.max(conversation.head, head);
      this.#keep(conversation);
    }
    return wasKnown;
  }

  /** Note that everything up to a SeqId was shown; the mark does not pass the first gap. */
  markShown(convId, seq) {
    const conversation = this.conversation(convId);
    conversation.shown = Math.max(conversation.shown, Math.min(conversation.through, seq));
    this.#keep(conversation);
  }

  #takeItem(item, follows) {
    if (follows) this.openNew(item.convId, item.first);
    else if (this.isNew(item.convId)) return; // it arrives again, with the records before it
    const isBeforeJoin = item.last < this.conversation(item.convId).joined;
    if (isBeforeJoin) this.noteHead(item.convId, item.last); // only the store has its current text
    else this.put(item);
  }

  #markRead(convId, seq) {
    const conversation = this.conversation(convId);
    const item = conversation.at(seq);
    const counted = item === null || item.hole !== null ? null : (item.entry.messages ?? 0);
    this.#read(conversation, readTo(conversation.reading, seq, counted));
  }

  #recall(conversation, seqs) {
    for (const seq of seqs) {
      const altered = { ...conversation.alteration(seq), recalled: true };
      this.#setAltered(conversation, seq, altered);
      const item = conversation.at(seq);
      if (item !== null && item.hole === null) {
        this.#replace(conversation, { ...item, hole: RECALLED, entry: null });
      }
    }
  }

  #applyAlteration(conversation, entry) {
    if (entry.kind === "message_recalled") {
      this.#recall(conversation, [entry.target, ...entry.edits]);
    } else if (entry.kind === "message_edited") {
      const { editedBy, recalled } = conversation.alteration(entry.target);
      const altered = { editedBy: Math.max(editedBy, entry.seq), recalled };
      this.#setAltered(conversation, entry.target, altered);
      const item = conversation.at(entry.target);
      if (item === null || item.hole !== null) return;
      const edited = conversation.withAlterations(item);
      if (edited !== item) this.#replace(conversation, edited);
    }
  }

  /** A join of the owner deletes items before it, which the store may have with a newer text. */
  #applyJoin(conversation, entry) {
    if (!isJoinOf(entry, this.#device.user) || entry.seq <= conversation.joined) return;
    conversation.joined = entry.seq;
    const first = firstToRead(conversation, entry.seq);
    if (first !== null) {
      const begin = conversation.placeOf(first);
      const end = conversation.placeOf(entry.seq);
      for (const item of conversation.items.splice(begin, end - begin)) {
        this.#note(`item:${conversation.convId}`, item.first, null);
      }
      conversation.through = Math.min(conversation.through, first - 1);
      conversation.shown = Math.min(conversation.shown, conversation.through);
    }
    this.#keep(conversation);
  }

  #advance(conversation, item) {
    const standing = item.hole === null ? standingAfter(item.entry, this.#device.user) : null;
    if (standing !== null && standing.seq >= conversation.modeSeq) {
      Object.assign(conversation, { mode: standing.mode, modeSeq: standing.seq });
    }
    conversation.head = Math.max(conversation.head, item.last);
    conversation.lastAt = Math.max(conversation.lastAt, item.entry?.at ?? 0);
    const isName = item.entry?.kind === "conversation_described" && item.entry.name !== undefined;
    if (isName && item.first > conversation.nameSeq) {
      Object.assign(conversation, { name: item.entry.name, nameSeq: item.first });
    }
    const above = conversation.from(conversation.through + 1);
    conversation.through = reach(conversation.through, above);
    this.#keep(conversation);
  }

  #insert(conversation, item) {
    conversation.items.splice(conversation.placeOf(item.first), 0, item);
    this.#noteItem(item);
  }

  #replace(conversation, item) {
    conversation.items[conversation.placeOf(item.first)] = item;
    this.#noteItem(item);
  }

  #noteItem({ convId, first, last, hole, entry }) {
    this.#note(`item:${convId}`, first, { last, hole, entry });
  }

  #setAltered(conversation, seq, altered) {
    conversation.altered.set(seq, altered);
    this.#note(`altered:${conversation.convId}`, seq, altered);
  }

  #open(convId, first) {
    const conversation = this.conversation(convId);
    const before = first - 1;
    Object.assign(conversation, { head: before, through: before, shown: before, start: first });
    this.#keep(conversation);
    return conversation;
  }

  #keep(conversation) {
    conversation.known = true;
    this.#note("conversation", conversation.convId, conversation);
  }

  #read(conversation, reading) {
    conversation.reading = reading;
    this.#note("conversation", conversation.convId, conversation);
  }

  #setDevice(fields) {
    Object.assign(this.#device, fields);
    this.#note("device", "state", this.#device);
  }

  #note(group, key, value) {
    this.#writes.set(`${group}\n${key}`, [group, key, value]);
  }
}

function isKnown(conversation) {
  return conversation.known;
}

function* seqsOf(first, last) {
  for (let seq = first; seq <= last; seq += 1) yield seq;
}

/** The first SeqId that is read again after a join; null if there is no entry before the join. */
function firstToRead(conversation, seq) {
  const before = conversation.items.slice(0, conversation.placeOf(seq));
  const entries = before.filter((item) => item.hole === null);
  if (entries.length === 0) return null;
  const border = entries.at(-1).first - REMEMBERED;
  const item = before.findLast((each) => each.first <= border) ?? before[0];
  return item.first;
}
