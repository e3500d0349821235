/** One conversation in the memory of a client: its items in order, and what is known about it. */
import { RECALLED } from "./knowledge.js";
import { nextToRead } from "./spans.js";
import { NOTHING_READ } from "./unread.js";

/** A conversation of which nothing is known. `known`: whether the device shows it. */
const UNKNOWN = Object.freeze({
  known: false,
  head: 0, // the last SeqId that is known to exist
  through: 0, // nothing is missing up to here
  shown: 0, // everything up to here was shown
  mode: null,
  modeSeq: 0,
  start: 1, // the first SeqId that is shown
  joined: 0, // the last entry that let the owner in
  lastAt: 0, // the time of the newest known entry, in milliseconds since 1970
  name: "",
  nameSeq: 0, // the entry that set the name
  reading: NOTHING_READ,
  mutedUntil: 0, // the end of the owner's mute, in milliseconds since 1970
  mutedBy: "-1", // the sync SeqId of the mute, as a text: storages have no long numbers
});

/** Not yet altered: `editedBy` is the SeqId of the last known edit. */
const UNALTERED = Object.freeze({ editedBy: 0, recalled: false });

/** The state of one conversation. `items` and `altered` are null until `fill`. */
export class LocalConversation {
  constructor(convId, stored = null) {
    this.convId = convId;
    Object.assign(this, UNKNOWN, stored);
    this.items = null;
    this.altered = null;
  }

  /** Set the content that the storage has. */
  fill(items, altered) {
    this.items = items.map(([first, value]) => ({ convId: this.convId, first, ...value }));
    this.altered = new Map(altered);
  }

  /** What the storage has about the conversation, without items. */
  stored() {
    return Object.fromEntries(Object.keys(UNKNOWN).map((name) => [name, this[name]]));
  }

  /** The place of the first item that begins at or after a SeqId. */
  placeOf(seq) {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.items[middle].first < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The item that begins at a SeqId. */
  at(seq) {
    const item = this.items[this.placeOf(seq)];
    return item !== undefined && item.first === seq ? item : null;
  }

  /** Known spans from the first one that may overlap a SeqId. */
  *from(seq) {
    let place = this.placeOf(seq);
    if (place > 0 && this.items[place - 1].last >= seq) place -= 1;
    for (; place < this.items.length; place += 1) yield this.items[place];
  }

  /** Up to `most` items above a SeqId, none of them after a gap. */
  between(after, most) {
    const begin = this.placeOf(after + 1);
    const found = this.items.slice(begin, begin + most);
    return found.filter((item) => item.last <= this.through);
  }

  /**
   * Up to `most` items below a SeqId, in order, without a gap between them and the SeqId; null: the
   * last items before the first gap.
   */
  before(seq, most) {
    if (seq !== null && seq > this.through + 1) return [];
    const end = this.placeOf(seq ?? this.through + 1);
    return this.items.slice(Math.max(0, end - most), end);
  }

  /** The SeqIds to read next; null if nothing is missing. */
  gap() {
    if (this.through >= this.head) return null;
    const asked = { first: this.through + 1, last: this.head };
    return nextToRead(asked, this.from(asked.first));
  }

  /** What is known about a message. */
  alteration(seq) {
    return this.altered.get(seq) ?? UNALTERED;
  }

  /** The item as it has to be stored, after all known recalls and edits. */
  withAlterations(item) {
    const { editedBy, recalled } = this.alteration(item.first);
    if (recalled) return { ...item, hole: RECALLED, entry: null };
    const edit = editedBy > 0 ? this.at(editedBy) : null;
    if (edit === null || edit.hole !== null || (item.entry.edited ?? 0) >= editedBy) return item;
    const { content, mentions } = edit.entry;
    return { ...item, entry: { ...item.entry, content, mentions, edited: editedBy } };
  }
}
