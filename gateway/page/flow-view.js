/** The pipeline as cards: the gateway, the sequencer and the sinks, joined by lines that move. */
import { areaOf, pathOf, shape } from "./chart.js";
import { make, reconcile } from "./dom.js";
import { countOf, durationOf, linesOf, rateOf, spanOf, topOf } from "./figures.js";
import { hasWord, locale, word } from "./words.js";

/** The sinks' stores, by stage. */
const STORES = {
  "sink-message": "cassandra", "sink-sync": "cassandra", "sink-search": "elasticsearch", "sink-push": "cassandra",
};

const SERVERS = { kafka: "Kafka", cassandra: "Cassandra", elasticsearch: "Elasticsearch" };

/** A rate at which lines move at full speed, in records per second. */
const FULL_RATE = 500;

const OF_STAGE = ["rate", "lag", "delay"];

const SPARK = { width: 200, height: 34 };

/** A card with figures: `rate`, `lag` and `delay` for a stage, other ones for the gateway. */
class Card {
  #figures = {};
  #state = make("span", { className: "state" });
  #title = make("h2");
  #hint = make("span", { className: "hint" });
  #note = make("ul", { className: "note" });
  #line = shape("path", { class: "line" });
  #area = shape("path", { class: "area" });

  constructor(name, figures) {
    this.name = name;
    const list = make("dl");
    for (const figure of figures) {
      const label = make("dt");
      const value = make("dd");
      this.#figures[figure] = { label, value };
      list.append(make("div", {}, label, value));
    }
    const spark = shape("svg", {
      class: "spark", viewBox: `0 0 ${SPARK.width} ${SPARK.height}`, preserveAspectRatio: "none",
      "aria-hidden": "true",
    }, this.#area, this.#line);
    this.element = make("article", { data: { stage: name } },
      make("header", {}, this.#title, this.#hint, this.#state), list, spark, this.#note);
  }

  translate(title, hint) {
    this.#title.textContent = title;
    this.#hint.textContent = hint;
    for (const [figure, { label }] of Object.entries(this.#figures)) label.textContent = word(figure);
  }

  /** Show a figure with its unit. */
  set(figure, text, unit = "") {
    const { value } = this.#figures[figure];
    value.replaceChildren(text, ...(unit === "" ? [] : [make("small", { textContent: unit })]));
  }

  /** Show a state and its text. */
  state(kind, text) {
    this.element.dataset.state = kind;
    this.#state.textContent = text;
  }

  /** Show further facts. */
  note(texts) {
    reconcile(this.#note, texts.map((text, at) => {
      return { key: String(at), state: text, make: () => make("li", { textContent: text }) };
    }));
  }

  spark(points, valueOf, end) {
    const lines = linesOf(points, valueOf);
    const values = lines.flat().map(([, value]) => value);
    const top = topOf(values.reduce((one, other) => Math.max(one, other), 0), 1);
    const span = spanOf(points);
    const x = (at) => SPARK.width - ((end - at) / span) * SPARK.width;
    const y = (value) => SPARK.height - 1 - (value / top) * (SPARK.height - 3);
    this.#line.setAttribute("d", pathOf(lines, x, y));
    this.#area.setAttribute("d", areaOf(lines, x, y));
  }
}

/** Lines from one card to the next ones; `ends` are heights in percent. */
function wires(names, ends) {
  const paths = ends.map((end, at) => {
    const d = `M0,50C55,50 45,${end} 100,${end}`;
    return [
      shape("path", { class: "wire", d }),
      shape("path", { class: "wire moving", d, "data-stage": names[at] }),
    ];
  });
  const svg = shape("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" }, ...paths.flat());
  return make("div", { className: "wires", "aria-hidden": "true" }, svg);
}

/** All cards and lines in an element. */
export class FlowView {
  #gateway = new Card("gateway", ["requests", "connections", "waiting"]);
  #cards;
  #sinks = make("div", { className: "sinks" });
  #element;
  #sequencer;
  #wires = [];
  #wired = "";

  constructor(element, stages) {
    const [sequencer, ...sinks] = stages;
    this.#element = element;
    this.#sequencer = sequencer;
    this.#cards = new Map(stages.map((name) => [name, new Card(name, OF_STAGE)]));
    this.#sinks.append(...sinks.map((name) => this.#cards.get(name).element));
    this.#wire(sinks);
    this.translate();
  }

  /** Join the cards by lines, each of which ends at the middle of a shown card. */
  #wire(sinks) {
    if (this.#wired === sinks.join()) return;
    this.#wired = sinks.join();
    const ends = sinks.map((_, at) => ((at + 0.5) * 100) / sinks.length);
    const all = [wires([this.#sequencer], [50]), wires(sinks, ends)];
    const sequencer = this.#cards.get(this.#sequencer).element;
    this.#element.replaceChildren(this.#gateway.element, all[0], sequencer, all[1], this.#sinks);
    this.#wires = all.flatMap((each) => [...each.querySelectorAll(".moving")]);
  }

  /** Write the words of the present language. */
  translate() {
    for (const card of [this.#gateway, ...this.#cards.values()]) {
      const hint = `${card.name}Hint`;
      card.translate(word(card.name), hasWord(hint) ? word(hint) : "");
    }
  }

  /** The card of a stage. A stage that this page does not know gets a card with its name. */
  #cardOf(name) {
    let card = this.#cards.get(name);
    if (card === undefined) {
      card = new Card(name, OF_STAGE);
      this.#cards.set(name, card);
      this.#sinks.append(card.element);
      this.translate();
    }
    return card;
  }

  /** Show an answer of the gateway, and the readings of the last minutes. */
  draw(shown, points) {
    const end = points.at(-1)?.at ?? 0;
    const language = locale();
    this.#drawGateway(shown, points, end);
    for (const [name, card] of this.#cards) { // a deployment may be without a stage
      card.element.hidden = !shown.stages.some((stage) => stage.name === name);
    }
    const sinks = [...this.#cards.keys()].filter((name) => name !== this.#sequencer);
    this.#wire(sinks.filter((name) => !this.#cards.get(name).element.hidden));
    shown.stages.forEach((stage, at) => {
      const card = this.#cardOf(stage.name);
      card.set("rate", rateOf(stage.rate, language), "/s");
      card.set("lag", countOf(stage.lag, language));
      const delay = stage.delay_ms ?? stage.last_delay_ms;
      card.set("delay", durationOf(delay, language));
      card.element.classList.toggle("resting", stage.delay_ms === null);
      card.state(...stateOf(stage, shown.servers));
      card.note([processesOf(stage), ...countsOf(stage, language)]);
      card.spark(points, (point) => point.rates[at], end);
      this.#move(stage);
    });
  }

  #drawGateway(shown, points, end) {
    const { connections, waiting, rate } = shown.gateway;
    const card = this.#gateway;
    card.set("requests", rateOf(rate, locale()), "/s");
    card.set("connections", countOf(connections, locale()));
    card.set("waiting", countOf(waiting, locale()));
    const { servers } = shown;
    card.state(servers.status === "ok" ? "ok" : "stalled", word(servers.status));
    card.note(Object.entries(SERVERS).map(([server, name]) => `${name} ${word(servers[server])}`));
    card.spark(points, (point) => point.requests, end);
  }

  #move({ name, rate }) {
    const wire = this.#wires.find((each) => each.dataset.stage === name);
    if (wire === undefined) return; // a stage that this page does not know
    const share = Math.min(1, Math.log1p(rate ?? 0) / Math.log1p(FULL_RATE));
    wire.classList.toggle("flowing", share > 0);
    // A change of the duration restarts the animation, so the speed has a few steps.
    wire.style.setProperty("--seconds", `${[2.4, 1.6, 1.1, 0.7][Math.floor(share * 3.99)]}s`);
  }
}

/** The state of a stage and its text. A store that is down explains more than the lag of its sink. */
function stateOf(stage, servers) {
  const store = STORES[stage.name];
  const isDown = store !== undefined && servers[store] === "down";
  if (isDown && stage.state !== "unowned") return ["stalled", `${SERVERS[store]} ${word("down")}`];
  return [stage.state, word(stage.state)];
}

function processesOf({ processes }) {
  return processes === 1 ? word("process") : word("processes", { count: processes });
}

function countsOf({ counts }, language) {
  const shown = Object.entries(counts).filter(([name, count]) => {
    return count > 0 || ["accepted", "records"].includes(name);
  });
  return shown.map(([name, value]) => {
    const count = countOf(value, language);
    return hasWord(name) ? word(name, { count }) : `${name}: ${count}`;
  });
}
