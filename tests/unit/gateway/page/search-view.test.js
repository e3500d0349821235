/** The hits of a search, on a small document. */
import assert from "node:assert/strict";
import { test } from "node:test";

/** An element of a document without a screen. */
class Element {
  children = [];
  parent = null;
  value = "";

  append(...children) {
    for (const child of children.filter((each) => each instanceof Element)) {
      child.parent = this;
      this.children.push(child);
    }
  }

  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
  }

  querySelector(selector) {
    return this.children.find((each) => `.${each.className?.split(" ")[0]}` === selector) ?? null;
  }

  remove() {
    this.parent.children = this.parent.children.filter((each) => each !== this);
  }

  setAttribute() {}
}

const elements = new Map();
globalThis.document = {
  createElement: () => new Element(),
  documentElement: {},
  getElementById: (id) => {
    if (!elements.has(id)) elements.set(id, new Element());
    return elements.get(id);
  },
  querySelectorAll: () => [],
};
globalThis.localStorage = { getItem: () => "en" };
const { SearchView } = await import("../../../../gateway/page/search-view.js");

const HIT = { conv_id: "c", seq: 1, sender: "ann", at: 0, content: { text: "noodles" } };
const moment = () => new Promise((resolve) => setTimeout(resolve, 0));

/** A gateway that answers searches when the test says so. */
class Searches {
  answers = [];

  search() {
    return new Promise((resolve) => this.answers.push(resolve));
  }

  async answer(next) {
    this.answers.shift()({ hits: [HIT], next });
    await moment();
  }
}

function searching() {
  const searches = new Searches();
  new SearchView(searches, () => {}, async () => "Lunch");
  elements.get("query").value = "noodles";
  const submit = () => elements.get("search").onsubmit({ preventDefault() {} });
  return { searches, submit, hits: () => elements.get("hits").children };
}

test("a search that is repeated before its response shows each hit once", async () => {
  const { searches, submit, hits } = searching();
  submit();
  submit();
  await searches.answer(null);
  await searches.answer(null);
  assert.equal(hits().length, 1);
});

test("more hits that are requested twice are shown once", async () => {
  const { searches, submit, hits } = searching();
  submit();
  await searches.answer("cursor");
  const more = hits().find((each) => each.className.startsWith("more"));
  for (let click = 0; click < 2; click += 1) if (!more.disabled) more.onclick({ target: more });
  assert.equal(searches.answers.length, 1);
  await searches.answer(null);
  assert.equal(hits().length, 2);
});
