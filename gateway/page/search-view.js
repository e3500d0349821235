/** Search: hits with marked words in place of the list. A hit opens its conversation. */
import { avatarOf, byId, make } from "./dom.js";
import { excerpt, termsOf } from "./highlight.js";
import { momentOf, word } from "./words.js";

const TYPING_MS = 250;
const HITS = 20;

/** The search. `open(convId, seq)` opens a hit; `titleOf(convId)` resolves with a name. */
export class SearchView {
  #client;
  #open;
  #titleOf;
  #query = byId("query");
  #hits = byId("hits");
  #timer;
  #asks = 0;

  constructor(client, open, titleOf) {
    Object.assign(this, { terms: [] });
    this.#client = client;
    this.#open = open;
    this.#titleOf = titleOf;
    this.#query.value = "";
    this.#query.oninput = () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => void this.#ask(), TYPING_MS);
    };
    byId("search").onsubmit = (event) => {
      event.preventDefault();
      clearTimeout(this.#timer);
      void this.#ask();
    };
    this.#query.onkeydown = (event) => {
      if (event.key === "Escape") this.clear();
      if (event.key === "ArrowDown") this.#hits.querySelector("button")?.focus();
    };
    this.#hits.onkeydown = (event) => this.#move(event);
    this.#showHits(false);
  }

  /** End the search, and show the list again. */
  clear() {
    this.#query.value = "";
    void this.#ask();
  }

  async #ask() {
    const query = this.#query.value.trim();
    this.#asks += 1;
    this.terms = termsOf(query);
    this.#showHits(query !== "");
    this.#hits.replaceChildren();
    if (query !== "") await this.#read(query, undefined, this.#asks);
  }

  /** Show a page of hits, unless somebody searched again meanwhile, by the same query or another. */
  async #read(query, cursor, ask) {
    let page;
    try {
      page = await this.#client.search(query, { limit: HITS, cursor });
    } catch {
      if (ask === this.#asks) this.#tell(word("searchFailed"));
      return;
    }
    const rows = await Promise.all(page.hits.map((hit) => this.#row(hit)));
    if (ask !== this.#asks) return;
    this.#hits.querySelector(".more")?.remove();
    this.#hits.append(...rows);
    if (page.next !== null) this.#hits.append(this.#more(query, page.next));
    else if (this.#hits.children.length === 0) this.#tell(word("noHits"));
  }

  async #row(hit) {
    const title = await this.#titleOf(hit.conv_id);
    const isOwnChat = title === hit.sender; // the chat with this person
    return make(
      "button",
      { type: "button", className: "hit", onclick: () => this.#open(hit.conv_id, hit.seq) },
      avatarOf(hit.sender),
      make("span", { className: "name", textContent: isOwnChat ? title : `${hit.sender} · ${title}` }),
      make("time", { textContent: momentOf(hit.at) }),
      make("span", { className: "preview" }, ...excerpt(hit.content.text, this.terms)),
    );
  }

  #more(query, cursor) {
    return make("button", {
      type: "button", className: "more quiet", textContent: word("more"),
      onclick: ({ target }) => {
        target.disabled = true; // a second click would show the same hits twice
        void this.#read(query, cursor, this.#asks);
      },
    });
  }

  #tell(text) {
    this.#hits.replaceChildren(make("p", { className: "empty", textContent: text }));
  }

  #showHits(areShown) {
    this.#hits.hidden = !areShown;
    byId("conversations").hidden = areShown;
  }

  #move(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key === "Escape") this.#query.focus();
    if (steps[event.key] === undefined) return;
    const buttons = [...this.#hits.querySelectorAll("button")];
    const next = buttons.indexOf(document.activeElement) + steps[event.key];
    (buttons[next] ?? this.#query).focus();
    event.preventDefault();
  }
}
