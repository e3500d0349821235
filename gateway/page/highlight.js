/** Marks the words of a query in a text. */

/** The terms of a query: words, and phrases in quotes, without the quotes. */
export function termsOf(query) {
  const found = [...query.matchAll(/"([^"]*)"?|[^\s"]+/g)];
  return found.map(([whole, phrase]) => (phrase ?? whole).trim()).filter((term) => term !== "");
}

/** The places of terms in a text, ascending, without overlaps. */
export function placesOf(text, terms) {
  const lower = text.toLowerCase();
  const isComparable = lower.length === text.length;
  const where = isComparable ? lower : text;
  const found = [];
  for (const term of terms) {
    const sought = isComparable ? term.toLowerCase() : term;
    for (let at = where.indexOf(sought); at >= 0; at = where.indexOf(sought, at + sought.length)) {
      found.push({ begin: at, end: at + sought.length });
    }
  }
  found.sort((one, other) => one.begin - other.begin || other.end - one.end);
  const apart = [];
  for (const place of found) {
    if (apart.length > 0 && place.begin <= apart.at(-1).end) {
      apart.at(-1).end = Math.max(apart.at(-1).end, place.end);
    } else {
      apart.push(place);
    }
  }
  return apart;
}

/** Nodes of a text in which terms are marked. */
export function marked(text, terms) {
  const nodes = [];
  let from = 0;
  for (const { begin, end } of placesOf(text, terms)) {
    const mark = document.createElement("mark");
    mark.textContent = text.slice(begin, end);
    nodes.push(text.slice(from, begin), mark);
    from = end;
  }
  nodes.push(text.slice(from));
  return nodes;
}

/** The part of a text around the first term, with the terms marked. */
export function excerpt(text, terms, length = 140) {
  const [first] = placesOf(text, terms);
  const begin = Math.max(0, (first?.begin ?? 0) - 30);
  const part = Array.from(text.slice(begin, begin + length)).join("");
  const isCut = begin + length < text.length;
  return [begin > 0 ? "…" : "", ...marked(part, terms), isCut ? "…" : ""];
}
