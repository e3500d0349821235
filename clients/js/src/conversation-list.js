/** The conversations of a local copy as an application sees them. */
import { unreadOf } from "./unread.js";

/** Conversations of a `LocalStore`, the most recent one first. */
export function newestFirst(stored) {
  const known = stored.map((each) => ({
    convId: each.convId,
    name: each.name,
    head: each.head,
    start: each.start,
    mark: each.reading.mark,
    unread: unreadOf(each.reading),
    // Before the first entry that tells the mode, the list has the person as a member.
    isMember: each.mode !== null || each.modeSeq === 0,
    at: each.lastAt,
    mutedUntil: each.mutedUntil,
  }));
  return known.sort((one, other) => other.at - one.at || (one.convId < other.convId ? -1 : 1));
}
