/** The list of conversations: names, last messages, unread counts. */
import { avatarOf, byId, make, onceAFrame, reconcile } from "./dom.js";
import { membersOf, titleOf } from "./names.js";
import { momentOf, word } from "./words.js";

/** Items that are read to find the last message and the people of a conversation. */
const LOOKED_AT = 200;

/** The list. `open(convId)` is called when a person chooses a conversation. */
export class ListView {
  #client;
  #open;
  #facts = new Map();
  #members = new Map();
  #element = byId("conversations");
  opened = null;

  constructor(client, open) {
    this.#client = client;
    this.#open = open;
    this.#element.replaceChildren();
    this.draw = onceAFrame(() => this.#draw());
    for (const type of ["item", "record", "settled", "outbox"]) client.on(type, this.draw);
    // An edit or a recall changes a text without a change of the head.
    client.on("item", ({ convId, entry }) => {
      this.#facts.delete(convId);
      if (entry?.kind.startsWith("members_")) this.#members.delete(convId);
    });
    client.on("record", ({ conv_id: convId }) => this.#facts.delete(convId));
    this.#element.addEventListener("keydown", (event) => this.#move(event));
    this.draw();
  }

  /** The title of a conversation, and the other people in it. */
  async about(convId) {
    const conversation = this.#client.conversations().find((each) => each.convId === convId);
    if (!this.#facts.has(convId)) this.#facts.set(convId, await this.#look(convId));
    const { others, last } = this.#facts.get(convId);
    return { conversation, others, last, title: titleOf(conversation ?? { convId }, others) };
  }

  async #look(convId) {
    const items = await this.#client.before(convId, null, { limit: LOOKED_AT });
    const last = items.findLast(({ entry, hole }) => {
      return entry?.kind === "message_sent" || hole === "recalled";
    });
    return { others: await this.#others(convId, items), last: last ?? null };
  }

  /** The other people. A window that does not have the first entries asks the gateway. */
  async #others(convId, items) {
    const seen = membersOf(items, this.#client.user);
    if (items.length === 0 || items[0].first === 1) return seen;
    const asked = this.#members.get(convId) ?? this.#client.members(convId).catch(() => null);
    this.#members.set(convId, asked);
    const members = await asked;
    if (members === null) {
      this.#members.delete(convId); // without a network: asked again at the next change
      return seen;
    }
    const names = members.map((each) => each.user);
    return names.filter((each) => each !== this.#client.user);
  }

  async #draw() {
    const rows = [];
    let unreadInAll = 0;
    for (const { convId, unread, isMember, mutedUntil } of this.#client.conversations()) {
      const isMuted = mutedUntil > Date.now();
      unreadInAll += isMuted ? 0 : (unread ?? 0);
      const about = await this.about(convId);
      const text = isMember ? previewOf(about.last, this.#client.user) : word("former");
      const moment = momentOf(about.conversation.at);
      const isOpen = convId === this.opened;
      const state = JSON.stringify([about.title, text, moment, unread, isOpen, isMuted, word("unread")]);
      const shown = { convId, unread, text, moment, isOpen, isMuted, title: about.title };
      rows.push({ key: convId, state, make: () => this.#row(shown) });
    }
    if (rows.length === 0) {
      const text = word("noConversations");
      const row = () => make("li", { className: "empty", textContent: text });
      rows.push({ key: "", state: text, make: row });
    }
    reconcile(this.#element, rows);
    document.title = unreadInAll > 0 ? `(${unreadInAll}) im-timeline` : "im-timeline";
  }

  #row({ convId, unread, text, moment, isOpen, isMuted, title }) {
    const count = unread === null ? "…" : String(unread);
    const badge = make("span", {
      className: isMuted ? "badge muted" : "badge", textContent: count, hidden: unread === 0,
      "aria-label": word("unreadCount", { count }),
    });
    const button = make(
      "button",
      { type: "button", onclick: () => this.#open(convId), data: { conversation: convId } },
      avatarOf(title),
      make("span", { className: "name", textContent: title }),
      make("time", { textContent: moment }),
      make("span", { className: "preview", textContent: text }),
      badge,
    );
    if (isOpen) button.setAttribute("aria-current", "true");
    return make("li", {}, button);
  }

  /** The arrow keys move between conversations. */
  #move(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (steps[event.key] === undefined) return;
    const buttons = [...this.#element.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    buttons[at + steps[event.key]]?.focus();
    event.preventDefault();
  }
}

function previewOf(item, user) {
  if (item === null) return "";
  if (item.hole !== null) return word("recalled");
  const { sender, content } = item.entry;
  return `${sender === user ? word("you") : sender}: ${content.text}`;
}
