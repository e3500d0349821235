/** The rows of a conversation: messages, notes about people, holes, days, and unsent messages. */
import { avatarOf, make } from "./dom.js";
import { marked } from "./highlight.js";
import { dayOf, listOf, timeOf, word } from "./words.js";

/** Messages of one person within this time appear as one block. */
const BLOCK_MS = 5 * 60_000;

/** How rows look: `user`, `mark` (the first unread SeqId is above it), `terms`, `actions`, `sent`. */

/** The rows of items and of unsent messages, for `reconcile`. */
export function rowsOf(items, pending, look) {
  const rows = [];
  let before = null; // the message before, if it may be in one block with the next one
  let day = "";
  let isDivided = false;
  for (const item of items) {
    const { entry } = item;
    if (entry !== null && !isShown(entry)) continue;
    if (entry !== null && dayOf(entry.at) !== day) {
      day = dayOf(entry.at);
      rows.push(note(`day-${item.first}`, "day", day));
      before = null;
    }
    const isNew = entry?.kind === "message_sent" && entry.sender !== look.user;
    if (isNew && !isDivided && look.mark !== null && item.first > look.mark) {
      isDivided = true;
      rows.push(note("unread", "unread", word("unread")));
      before = null;
    }
    rows.push(rowOf(item, before, look));
    before = entry?.kind === "message_sent" ? entry : null;
  }
  for (const each of pending) rows.push(pendingRow(each));
  return rows;
}

function isShown(entry) {
  return !["message_edited", "message_recalled", "fanout_changed"].includes(entry.kind);
}

function rowOf(item, before, look) {
  const key = `seq-${item.first}`;
  if (item.hole === "recalled") return note(key, "note", word("recalled"));
  if (item.hole !== null) {
    return note(key, "note", word("hidden", { count: item.last - item.first + 1 }));
  }
  const { entry } = item;
  if (entry.kind !== "message_sent") return note(key, "note", noteOf(entry));
  const isBlock = before?.sender === entry.sender && entry.at - before.at < BLOCK_MS;
  const { text } = entry.content;
  const state = JSON.stringify([text, entry.edited, isBlock, look.terms, word("edit")]);
  return { key, state, make: () => messageRow(entry, isBlock, look) };
}

function messageRow(entry, isBlock, { user, terms, actions }) {
  const isOwn = entry.sender === user;
  const bubble = make("div", { className: "bubble" });
  if (!isOwn && !isBlock) bubble.append(make("strong", { textContent: entry.sender }));
  bubble.append(
    make("p", { dir: "auto" }, ...marked(entry.content.text, terms)),
    make("span", { className: "when" },
      entry.edited ? make("em", { textContent: word("edited") }) : null,
      make("time", { textContent: timeOf(entry.at) })),
  );
  const kind = `message ${isOwn ? "own" : "other"} ${isBlock ? "block" : ""}`;
  const row = make("div", { className: kind, data: { seq: String(entry.seq) } });
  if (!isOwn) row.append(avatarOf(entry.sender));
  row.append(bubble);
  if (isOwn) row.append(actionsOf(entry, actions));
  return row;
}

function actionsOf(entry, actions) {
  const button = (name, act) => make("button", {
    type: "button", className: "quiet", textContent: word(name), onclick: () => act(entry),
  });
  return make("span", { className: "actions" },
    button("edit", actions.edit), button("recall", actions.recall));
}

function pendingRow({ clientMsgId, body, state, at }) {
  const status = word(state === "queued" ? "queued" : "sending");
  const makeRow = () => make("div", { className: "message own pending" },
    make("div", { className: "bubble" },
      make("p", { dir: "auto", textContent: body.text }),
      make("span", { className: "when" },
        make("em", { textContent: status }), make("time", { textContent: timeOf(at) }))));
  return { key: `id-${clientMsgId}`, state: status, make: makeRow };
}

function note(key, kind, text) {
  const makeRow = () => make("div", { className: kind }, make("span", { textContent: text }));
  return { key, state: text, make: makeRow };
}

function noteOf(entry) {
  const { kind, sender, name } = entry;
  const members = listOf((entry.members ?? []).filter((each) => each !== sender));
  if (kind === "conversation_created") return word("created", { sender });
  if (kind === "members_added") return word("joined", { sender, members: members || sender });
  if (kind === "members_removed") return word("left", { members: members || sender });
  if (kind === "ownership_transferred") return word("owner", { owner: entry.owner });
  if (kind === "conversation_described") return word("described", { sender, name: name ?? "" });
  return kind;
}
