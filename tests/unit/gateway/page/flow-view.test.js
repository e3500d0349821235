/** The cards of the pipeline, on a small document. */
import assert from "node:assert/strict";
import { test } from "node:test";

/** An element of a document without a screen. */
class Element {
  dataset = {};
  children = [];
  textContent = "";
  style = { setProperty() {} };
  classList = { toggle() {} };

  append(...children) {
    this.children.push(...children.filter((each) => each instanceof Element));
    this.textContent += children.filter((each) => typeof each === "string").join("");
  }

  replaceChildren(...children) {
    this.children = [];
    this.textContent = "";
    this.append(...children);
  }

  insertBefore(child) {
    this.children.push(child);
  }

  setAttribute() {}

  querySelectorAll() {
    return [];
  }

  get text() {
    return [this.textContent, ...this.children.map((each) => each.text)].join(" ");
  }
}

globalThis.document = { createElement: () => new Element(), createElementNS: () => new Element() };
globalThis.localStorage = { getItem: () => "en" };
await import("../../../../gateway/page/pipeline-words.js");
const { FlowView } = await import("../../../../gateway/page/flow-view.js");

test("only the lines to cards of the deployment's stages are drawn", () => {
  const element = new Element();
  const view = new FlowView(element, ["sequencer", "sink-message", "sink-push", "webhooks"]);
  const stage = (name) => {
    return { name, counts: {}, rate: 1, lag: 0, delay_ms: 5, state: "ok", processes: 1 };
  };
  const draw = (...names) => view.draw({
    stages: names.map(stage),
    servers: { status: "ok", kafka: "up", cassandra: "up", elasticsearch: "up" },
    gateway: { connections: 1, waiting: 0, rate: 1 },
  }, []);
  const linesToSinks = () => element.children[3].children[0].children.length / 2;
  draw("sequencer", "sink-message");
  assert.equal(linesToSinks(), 1);
  assert.match(element.text, /Webhooks/);
  draw("sequencer", "sink-message", "sink-push", "webhooks");
  assert.equal(linesToSinks(), 3);
  const [drawn] = element.children[3].children;
  draw("sequencer", "sink-message", "sink-push", "webhooks");
  assert.equal(element.children[3].children[0], drawn);
});

test("a stage and a count that the page does not know are shown with their names", () => {
  const element = new Element();
  const view = new FlowView(element, ["sequencer", "sink-message"]);
  const stage = (name, counts) => {
    return { name, counts, rate: 1, lag: 0, delay_ms: 5, state: "ok", processes: 1 };
  };
  const shown = {
    stages: [stage("sequencer", { accepted: 3 }), stage("sink-other", { records: 7, mended: 2 })],
    servers: { status: "ok", kafka: "up", cassandra: "up", elasticsearch: "up" },
    gateway: { connections: 1, waiting: 0, rate: 1 },
  };
  const points = [{ at: 1, rates: [1, 2], requests: 1 }];
  view.draw(shown, points);
  view.draw(shown, points);
  assert.match(element.text, /3 accepted/);
  assert.match(element.text, /sink-other/);
  assert.match(element.text, /7 records/);
  assert.match(element.text, /mended: 2/);
  assert.doesNotMatch(element.text, /Hint/);
  assert.equal(element.text.match(/sink-other/g).length, 1);
});
