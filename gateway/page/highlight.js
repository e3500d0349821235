/** Marks the words of a query in a text. */

/** The terms of a query: words, and phrases in quotes, without the quotes. */
export function termsOf(query) {
  const found = [...query.matchAll(/"([^"]*)"?|[^\s"]+/g)];
  return found.map(([whole, phrase]) => (phrase ?? whole).trim()).filter((term) => term !== "");
}

/** Splits a text into the characters that a reader sees. */
const CHARACTERS = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** The form in which characters are compared, similar to that of the search (docs/search.md). */
function foldOf(character) {
  // The change to capitals and back is close to the full case folding: ß becomes ss.
  const folded = character.normalize("NFKC").toUpperCase().toLowerCase().normalize("NFKC");
  return folded.replaceAll("i\u0307", "i").replaceAll("ς", "σ");
}

/** The folded text, and for each of its units the place of its character in the text. */
function folded(text) {
  let form = "";
  const places = [];
  for (const { segment, index } of CHARACTERS.segment(text)) {
    const fold = foldOf(segment);
    form += fold;
    const place = { begin: index, end: index + segment.length };
    for (let unit = 0; unit < fold.length; unit += 1) places.push(place);
  }
  return { form, places };
}

/** The places of terms in a text, ascending, without overlaps. */
export function placesOf(text, terms) {
  if (terms.length === 0) return [];
  const { form, places } = folded(text);
  const found = [];
  for (const term of terms) {
    const sought = folded(term).form;
    if (sought === "") continue;
    for (let at = form.indexOf(sought); at >= 0; at = form.indexOf(sought, at + sought.length)) {
      found.push({ begin: places[at].begin, end: places[at + sought.length - 1].end });
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
