/**
 * The rules by which a device learns from records and from the store, as in
 * `consumers/device/knowledge.py`: pure, no I/O.
 *
 * 1. A conversation is dense: a device that knows SeqId n knows that 1 to n-1 exist, and reads the
 *    missing ones from the store.
 * 2. The gateway alone decides what a person may see. A device accepts a hole only up to the head in
 *    the same answer: above the head, the store may not know of a rejoin yet.
 *
 * An item is `{convId, first, last, hole, entry}`: one entry, or a hole with its reason.
 */

/** The cursor of a device that has applied nothing. Cursors are BigInts. */
export const BEFORE_ALL = -1n;

/** The reason of a temporary hole: the store does not have the entry yet. */
export const NOT_YET = "not_yet";

/** The reason of a hole in place of a recalled message, or of an edit of a recalled message. */
export const RECALLED = "recalled";

/**
 * A message may be at most this number of SeqIds before its edits. So a device whose owner joins
 * again reads this part before the join again.
 */
export const REMEMBERED = 1040;

const ENTRIES = new Set([
  "conversation_created",
  "members_added",
  "members_removed",
  "ownership_transferred",
  "conversation_described",
  "fanout_changed",
  "message_sent",
  "message_recalled",
  "message_edited",
]);
const TELLS_MODE = new Set([
  "conversation_created",
  "members_added",
  "members_removed",
  "fanout_changed",
]);
const MEMBERSHIP = new Set(["conversation_created", "members_added", "members_removed"]);

/** Whether a record of a sync timeline is an entry of a known kind. */
export function isKnownEntry(record) {
  return ENTRIES.has(record.kind);
}

/** Whether an entry lets a person in. */
export function isJoinOf(entry, user) {
  const isJoin = entry.kind === "conversation_created" || entry.kind === "members_added";
  return isJoin && entry.members.includes(user);
}

/** Whether an entry adds or removes a person. */
export function changesMembership(entry, user) {
  return MEMBERSHIP.has(entry.kind) && entry.members.includes(user);
}

/** How later entries reach a person after an entry, `{mode, seq}`; null if it does not say. */
export function standingAfter(entry, user) {
  if (!TELLS_MODE.has(entry.kind)) return null;
  const isOut = entry.kind === "members_removed" && entry.members.includes(user);
  return { mode: isOut ? null : entry.mode, seq: entry.seq };
}

/** The part of a history page that is permanently valid (rule 2 above). */
export function certain(part) {
  const found = [];
  for (const item of part.items) {
    if (item.hole === null) found.push(item);
    else if (item.hole !== NOT_YET && item.first <= part.head) {
      found.push({ ...item, last: Math.min(item.last, part.head) });
    }
  }
  return found;
}

/**
 * Whether a device reads up to a listed head from the store. In a push conversation this is not
 * needed: the entries arrive by themselves. `everything`: the device was disconnected and does not
 * know what it missed.
 */
export function isToBeRead(mode, listed, everything) {
  return everything || mode === "pull" || listed.mode === "pull";
}
