/** An open conversation: its messages, scrolling back, read marks, writing, editing, recalling. */
import { byId, onceAFrame, paintAvatar, reconcile } from "./dom.js";
import { rowsOf } from "./message-rows.js";
import { MuteSwitch } from "./mute-switch.js";
import { word } from "./words.js";

const FIRST_PAGE = 60;
const NEXT_PAGE = 50;
const JUMP_PAGE = 500;

/** Distances from an end of the messages, in pixels. */
const NEAR_TOP = 300;
const NEAR_BOTTOM = 80;
const RETRY_MS = 1_000; // at the top, no scroll event follows a failed reading

/** One conversation. `about(convId)` resolves with its title and people. */
export class ConversationView {
  #client;
  #about;
  #ends = new AbortController();
  #items = [];
  #accepted = []; // sent messages with an outcome, until the device shows their entries
  #mark = null;
  #marked = 0;
  #mute = null;
  #terms = [];
  #editing = null;
  #isReading = false;
  #isStale = false;
  #refresh = null; // the reading of #readAgain, while it runs
  #isAtBottom = true;
  #list = byId("messages");
  #text = byId("text");

  constructor(client, convId, about) {
    this.convId = convId;
    this.#client = client;
    this.#about = about;
    this.draw = onceAFrame(() => this.#draw());
  }

  /** Show the conversation; with `seq`, at this message and with these words marked. */
  async open(seq = null, terms = []) {
    const { signal } = this.#ends;
    const own = this.#client.conversations().find((each) => each.convId === this.convId);
    this.#mark = own === undefined || own.unread === 0 ? null : own.mark;
    this.#terms = terms;
    this.#list.replaceChildren();
    const early = []; // items that arrive while older items are read
    let add = (item) => early.push(item);
    const ours = (listener) => (detail) => {
      if ((detail.convId ?? detail.conv_id) === this.convId) listener(detail);
    };
    this.#client.on("item", ours((item) => void add(item)), { signal });
    this.#client.on("record", ours((record) => void this.#noteRecord(record)), { signal });
    this.#client.on("outbox", ours((change) => this.#noteOutbox(change)), { signal });
    this.#items = await this.#client.before(this.convId, null, { limit: FIRST_PAGE });
    if (seq !== null) await this.#readBackTo(seq);
    add = (item) => this.#add(item);
    if (early.length > 0) await this.#readAgain();
    this.#listen(signal);
    this.#endEditing();
    await this.#draw();
    if (seq === null) this.#toBottom();
    else this.#show(seq);
    void this.#markRead();
  }

  /** Show another message of the open conversation. */
  async jump(seq, terms) {
    this.#terms = terms;
    await this.#readBackTo(seq);
    await this.#draw();
    this.#show(seq);
  }

  /** Stop following the conversation. */
  close() {
    this.#ends.abort();
  }

  #listen(signal) {
    this.#mute = new MuteSwitch(this.#client, this.convId, signal);
    this.#list.addEventListener("scroll", () => this.#noteScroll(), { signal, passive: true });
    document.addEventListener("visibilitychange", () => void this.#markRead(), { signal });
    window.addEventListener("focus", () => void this.#markRead(), { signal });
    byId("newest").addEventListener("click", () => this.#toBottom(), { signal });
    byId("cancel-edit").addEventListener("click", () => this.#endEditing(), { signal });
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    }, { signal });
    this.#text.addEventListener("keydown", (event) => this.#typed(event), { signal });
    this.#text.addEventListener("input", () => this.#fit(), { signal });
  }

  async #draw() {
    const { title, others, conversation } = await this.#about(this.convId);
    if (this.#ends.signal.aborted) return;
    byId("title").textContent = title;
    const count = others.length + 1;
    byId("members").textContent = count > 2 ? word("people", { count }) : "";
    paintAvatar(byId("avatar"), title);
    this.#mute?.draw();
    byId("composer").hidden = conversation !== undefined && !conversation.isMember;
    const known = new Set(this.#items.map(({ entry }) => entry?.client_msg_id));
    const last = this.#items.at(-1)?.last ?? 0;
    this.#accepted = this.#accepted.filter((each) => each.seq > last);
    const waiting = [...this.#accepted, ...this.#client.pending(this.convId)];
    const pending = waiting.filter((each) => {
      return each.kind === "send" && !known.has(each.clientMsgId);
    });
    const look = {
      user: this.#client.user,
      mark: this.#mark,
      terms: this.#terms,
      actions: {
        edit: (entry) => this.#edit(entry),
        recall: (entry) => void this.#client.recall(this.convId, entry.seq),
      },
    };
    reconcile(this.#list, rowsOf(this.#items, pending, look));
    if (this.#isAtBottom) this.#toBottom();
  }

  /** An item that the device shows: the next one, or one that it shows again. */
  async #add(item) {
    const last = this.#items.at(-1);
    const altersOthers = item.hole !== null || /^message_(edited|recalled)$/.test(item.entry.kind);
    if (last === undefined || item.first > last.last) this.#items.push(item);
    if (altersOthers || (last !== undefined && item.first <= last.last)) await this.#readAgain();
    if (item.entry?.sender === this.#client.user) this.#mark = null; // who writes has read
    this.draw();
    void this.#markRead();
  }

  /** The response to a message can arrive before the message's entry. Its row remains until then. */
  #noteOutbox({ command, outcome }) {
    if (outcome !== null) {
      const { kind, body, state, at } = command;
      this.#accepted.push({ kind, body, state, at, clientMsgId: body.client_msg_id, seq: outcome.seq });
    }
    this.draw();
  }

  /** A text that was recalled after the person left has no entry. */
  async #noteRecord(record) {
    if (record.kind === "retracted") await this.#readAgain();
    this.draw();
  }

  /** Read the shown items again: their texts may have changed. Calls during a reading share the next. */
  async #readAgain() {
    this.#isStale = true;
    this.#refresh ??= this.#readUntilFresh().finally(() => { this.#refresh = null; });
    await this.#refresh;
  }

  async #readUntilFresh() {
    while (this.#isStale) {
      this.#isStale = false;
      await this.#readShown();
    }
  }

  /** Items that were added at either end during the reading remain. */
  async #readShown() {
    const begin = this.#items[0]?.first ?? 1;
    const items = [];
    for (let seq = null; seq === null || seq > begin; seq = items[0].first) {
      const part = await this.#client.before(this.convId, seq, { limit: JUMP_PAGE });
      if (part.length === 0) break;
      items.unshift(...part);
    }
    const read = items.filter((each) => each.first >= begin);
    if (read.length === 0) return;
    const earlier = this.#items.filter((each) => each.last < read[0].first);
    const later = this.#items.filter((each) => each.first > read.at(-1).last);
    this.#items = [...earlier, ...read, ...later];
  }

  async #readBackTo(seq) {
    while (this.#items.length > 0 && this.#items[0].first > seq) {
      if (!(await this.#readBack(JUMP_PAGE))) return;
    }
  }

  /** Read earlier items; returns whether there were any. */
  async #readBack(limit) {
    const [begin] = this.#items;
    if (begin === undefined || begin.first <= 1 || this.#isReading) return false;
    this.#isReading = true;
    try {
      const items = await this.#client.before(this.convId, begin.first, { limit });
      this.#items = [...items, ...this.#items];
      return items.length > 0;
    } catch {
      setTimeout(() => this.#ends.signal.aborted || this.#noteScroll(), RETRY_MS);
      return false;
    } finally {
      this.#isReading = false;
    }
  }

  async #noteScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#list;
    this.#isAtBottom = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM;
    byId("newest").hidden = this.#isAtBottom;
    if (this.#isAtBottom) void this.#markRead();
    if (scrollTop > NEAR_TOP || !(await this.#readBack(NEXT_PAGE))) return;
    const { scrollHeight: height, scrollTop: before } = this.#list;
    await this.#draw();
    this.#list.scrollTop = before + this.#list.scrollHeight - height;
  }

  #toBottom() {
    this.#isAtBottom = true;
    this.#list.scrollTop = this.#list.scrollHeight;
    byId("newest").hidden = true;
  }

  #show(seq) {
    const row = this.#list.querySelector(`[data-seq="${seq}"]`);
    if (row === null) return;
    this.#isAtBottom = false;
    row.scrollIntoView({ block: "center" });
    row.classList.add("found");
    setTimeout(() => row.classList.remove("found"), 2_500);
  }

  /** Mark what the person sees as read: shown messages, at their end, in a visible window. */
  async #markRead() {
    const last = this.#items.at(-1)?.last ?? 0;
    // Without an `offsetParent`, a narrow screen shows the list in place of the messages.
    const isSeen = this.#list.offsetParent !== null && document.hasFocus() && !document.hidden;
    const unread = this.#client.unread(this.convId);
    if (!isSeen || !this.#isAtBottom || unread === 0 || last <= this.#marked) return;
    this.#marked = last;
    await this.#client.markRead(this.convId, last);
  }

  async #send() {
    const text = this.#text.value;
    if (text.trim() === "") return;
    const editing = this.#editing;
    this.#endEditing();
    const mentions = await this.#mentionsIn(text);
    if (editing === null) {
      this.#isAtBottom = true;
      await this.#client.send(this.convId, text, { mentions });
    } else {
      await this.#client.edit(this.convId, editing, text, { mentions });
    }
  }

  /** The people whom a text names with @, for whom a message in a large group is a mention. */
  async #mentionsIn(text) {
    const { others } = await this.#about(this.convId);
    return others.filter((each) => text.includes(`@${each}`));
  }

  #edit(entry) {
    this.#editing = entry.seq;
    byId("editing").hidden = false;
    this.#text.value = entry.content.text;
    this.#fit();
    this.#text.focus();
  }

  #endEditing() {
    this.#editing = null;
    byId("editing").hidden = true;
    this.#text.value = "";
    this.#fit();
  }

  #typed(event) {
    const { key, shiftKey, isComposing } = event;
    if (key === "Enter" && !shiftKey && !isComposing) {
      event.preventDefault();
      void this.#send();
    } else if (key === "Escape" && this.#editing !== null) {
      event.stopPropagation();
      this.#endEditing();
    } else if (key === "ArrowUp" && this.#text.value === "") {
      const { user } = this.#client;
      const own = this.#items.findLast(({ entry }) => {
        return entry?.kind === "message_sent" && entry.sender === user;
      });
      if (own === undefined) return;
      event.preventDefault();
      this.#edit(own.entry);
    }
  }

  /** The height of the field follows its lines. */
  #fit() {
    this.#text.rows = Math.min(6, this.#text.value.split("\n").length);
  }
}
