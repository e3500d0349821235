/** The list of dead letters: reason and place of each record, never its text. */
import { byId, make, reconcile } from "./dom.js";
import { countOf } from "./figures.js";
import { locale, word } from "./words.js";

/** Show the newest dead letters, and their number in all. */
export function drawLetters(shown) {
  const letters = shown.newest_letters;
  const total = Math.max(shown.dead_letters, letters.length);
  byId("no-letters").hidden = letters.length > 0;
  byId("letters-scroll").hidden = letters.length === 0;
  const counts = { count: countOf(letters.length, locale()), total: countOf(total, locale()) };
  byId("letters-count").textContent = letters.length === 0 ? "" : word("showing", counts);
  reconcile(byId("letters-rows"), letters.map(rowOf));
}

function rowOf(letter) {
  const key = `${letter.stage} ${letter.topic}:${letter.partition}:${letter.offset} ${letter.at}`;
  const state = document.documentElement.lang;
  return { key, state, make: () => row(letter) };
}

function row({ stage, reason, topic, partition, offset, size, at }) {
  const cell = (label, text, className = "") => {
    return make("td", { className, textContent: text, data: { label: word(label).toLowerCase() } });
  };
  const options = { dateStyle: "short", timeStyle: "medium" };
  return make("tr", {},
    cell("letterTime", new Intl.DateTimeFormat(locale(), options).format(at), "time"),
    cell("letterStage", stageName(stage)),
    cell("letterReason", reason, "reason"),
    cell("letterRecord", `${topic}:${partition}:${offset}`, "place"),
    cell("letterSize", countOf(size, locale()), "number"));
}

/** The name of a stage; a letter may have one that this page does not know. */
function stageName(stage) {
  return /^(sequencer|sink-(message|sync|search|push))$/.test(stage) ? word(stage) : stage;
}
