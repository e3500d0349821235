/**
 * How many messages of a conversation the owner has not read, as a device knows it: pure, no I/O.
 *
 * Entries, read marks and the list of conversations report it, in any order and repeatedly. Each
 * report is true, so the furthest one counts. A mark does not have the number of messages up to it;
 * without this number, the unread number is unknown (null).
 */
import { changesMembership } from "./knowledge.js";

/** `end`, `messages`: the last known entry, and the number of messages up to it. `mark`, `counted`:
 * the read mark, and the number of messages up to it, or null. */
export const NOTHING_READ = Object.freeze({ end: 0, messages: 0, mark: 0, counted: 0 });

/** The number of messages above the mark; null if unknown. */
export function unreadOf(reading) {
  if (reading.mark >= reading.end) return 0;
  if (reading.counted === null) return null;
  return Math.max(0, reading.messages - reading.counted);
}

/** The reading after an entry that the owner may see became known. */
export function endsAt(reading, seq, messages) {
  const isLater = seq > reading.end || (seq === reading.end && messages > reading.messages);
  const end = isLater ? { end: seq, messages } : { end: reading.end, messages: reading.messages };
  return { ...reading, ...end, counted: seq === reading.mark ? messages : reading.counted };
}

/** The reading after a mark, which may be an old one. */
export function readTo(reading, seq, counted) {
  if (seq > reading.mark) return { ...reading, mark: seq, counted };
  if (seq === reading.mark && counted !== null) return { ...reading, counted };
  return reading;
}

/** The reading after an entry, which is a mark if it is an own message, a join or a leave. */
export function afterEntry(reading, entry, user) {
  const messages = entry.messages ?? 0;
  const after = endsAt(reading, entry.seq, messages);
  const isOwn = entry.kind === "message_sent" && entry.sender === user;
  return isOwn || changesMembership(entry, user) ? readTo(after, entry.seq, messages) : after;
}
