/**
 * SeqId arithmetic: how far a conversation is complete, and what to read next. A span is an object
 * with `first` and `last`, both included. Known spans ascend and do not overlap.
 */

/** Known SeqIds between two gaps that are cheaper to read again than to skip by two requests. */
export const SHORT_ISLAND = 16;

/** SeqIds after which a gap is not extended: the maximum number of entries in a history page. */
export const LONGEST = 500;

/** The last SeqId up to which nothing is missing, if nothing is missing up to `through`. */
export function reach(through, known) {
  for (const span of known) {
    if (span.first > through + 1) break;
    through = Math.max(through, span.last);
  }
  return through;
}

/** The parts of a span that are not known. */
export function missing(asked, known) {
  const found = [];
  let begin = asked.first;
  for (const span of known) {
    if (span.first > asked.last) break;
    if (span.first > begin) found.push({ first: begin, last: span.first - 1 });
    begin = Math.max(begin, span.last + 1);
  }
  if (begin <= asked.last) found.push({ first: begin, last: asked.last });
  return found;
}

/**
 * The first gap of a span, extended over short islands to the gaps after them; null if nothing is
 * missing. In a pull conversation, a device has the messages that mention its owner: islands of one.
 */
export function nextToRead(asked, known) {
  let begin = asked.first;
  let gap = null;
  let island = 0;
  for (const span of known) {
    if (span.first > begin) {
      gap = { first: gap === null ? begin : gap.first, last: span.first - 1 };
      island = 0;
    }
    island += span.last - span.first + 1;
    begin = span.last + 1;
    const isLong = gap !== null && gap.last - gap.first >= LONGEST;
    if (gap !== null && (island > SHORT_ISLAND || isLong)) return gap;
  }
  if (begin <= asked.last) gap = { first: gap === null ? begin : gap.first, last: asked.last };
  return gap;
}
