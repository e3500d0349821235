/** A chart of the last minutes: one line for each stage. Drawn as SVG, read by pointer or keys. */
import { make } from "./dom.js";
import { agesOf, durationOf, linesOf, spanOf, topOf } from "./figures.js";
import { locale } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
/** The margins of the lines in pixels, with the labels of the scales. */
const TOP = 16;
const BOTTOM = 18;

/** An SVG element with attributes. */
export function shape(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The path of lines in a box; `x` and `y` map a time and a value to pixels. */
export function pathOf(lines, x, y) {
  const parts = lines.map((line) => {
    const places = line.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
    return places.length === 1 ? `M${places[0]}h0.1` : `M${places.join("L")}`;
  });
  return parts.join("");
}

/** The area below lines. */
export function areaOf(lines, x, y) {
  const parts = lines.map((line) => {
    const [begin, end] = [x(line[0][0]), x(line.at(-1)[0])].map((each) => each.toFixed(1));
    const places = line.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
    return `M${begin},${y(0)}L${places.join("L")}L${end},${y(0)}Z`;
  });
  return parts.join("");
}

/** One chart. `onCursor(index)` is called when a person points at a reading; null ends it. */
export class Chart {
  #stages;
  #valueOf;
  #format;
  #least;
  #onCursor;
  #points = [];
  #cursor = null;
  #title = make("h2");
  #time = make("time");
  #values = [];
  #legend = make("ul");
  #svg = shape("svg", { "aria-hidden": "true" });

  constructor({ stages, valueOf, format, least, onCursor }) {
    this.#stages = stages;
    this.#valueOf = valueOf;
    this.#format = format;
    this.#least = least;
    this.#onCursor = onCursor;
    this.#values = stages.map((name) => {
      const value = make("b");
      this.#legend.append(make("li", { data: { stage: name } }, make("span"), value));
      return value;
    });
    this.element = make("figure", { tabIndex: 0, role: "img" },
      make("figcaption", {}, this.#title, this.#time), this.#svg, this.#legend);
    this.element.addEventListener("keydown", (event) => this.#pressed(event));
    this.element.addEventListener("blur", () => this.#onCursor(null));
    this.#svg.addEventListener("pointermove", (event) => this.#pointed(event));
    this.#svg.addEventListener("pointerleave", () => this.#onCursor(null));
  }

  /** Write the words of the present language. */
  translate(title, names) {
    this.#title.textContent = title;
    names.forEach((name, at) => {
      this.#legend.children[at].firstChild.textContent = name;
    });
  }

  /** Draw these readings, with the cursor at one of them, or at none. */
  draw(points, cursor, timeOf) {
    this.#points = points;
    this.#cursor = cursor;
    const shown = points[cursor ?? points.length - 1];
    this.#time.textContent = cursor === null || shown === undefined ? "" : timeOf(shown.at);
    const texts = this.#stages.map((_, at) => this.#format(shown ? this.#valueOf(shown, at) : null));
    texts.forEach((text, at) => {
      this.#values[at].textContent = text;
    });
    const named = texts.map((text, at) => `${this.#legend.children[at].firstChild.textContent} ${text}`);
    this.element.setAttribute("aria-label", `${this.#title.textContent}: ${named.join(", ")}`);
    this.#drawLines();
  }

  #drawLines() {
    const { clientWidth: width, clientHeight: height } = this.#svg;
    if (width === 0) return;
    const end = this.#points.at(-1)?.at ?? 0;
    const series = this.#stages.map((_, at) => linesOf(this.#points, (each) => this.#valueOf(each, at)));
    const values = series.flat(2).map(([, value]) => value);
    const top = topOf(values.reduce((one, other) => Math.max(one, other), 0), this.#least);
    const span = spanOf(this.#points);
    const x = (at) => width - ((end - at) / span) * width;
    const y = (value) => height - BOTTOM - (value / top) * (height - TOP - BOTTOM);
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#svg.replaceChildren(
      ...this.#scale(width, y, top),
      ...this.#times(end, span, x, height),
      ...series.map((lines, at) => {
        return shape("path", { class: "line", d: pathOf(lines, x, y), "data-stage": this.#stages[at] });
      }),
      ...this.#marks(x, y, height),
    );
  }

  #scale(width, y, top) {
    return [0, top / 2, top].flatMap((value) => {
      const line = shape("line", { class: "grid", x1: 0, x2: width, y1: y(value), y2: y(value) });
      if (value === 0) return [line];
      return [line, shape("text", { class: "tick", x: 2, y: y(value) - 3 }, this.#format(value))];
    });
  }

  #times(end, span, x, height) {
    return agesOf(span).map((age) => {
      const text = `−${durationOf(age, locale())}`;
      return shape("text", { class: "tick middle", x: x(end - age), y: height - 4 }, text);
    });
  }

  #marks(x, y, height) {
    const point = this.#points[this.#cursor ?? -1];
    if (point === undefined) return [];
    const line = shape("line", { class: "cursor", x1: x(point.at), x2: x(point.at), y1: TOP - 4, y2: height - BOTTOM });
    const dots = this.#stages.flatMap((name, at) => {
      const value = this.#valueOf(point, at);
      if (value === null) return [];
      return [shape("circle", { "data-stage": name, cx: x(point.at), cy: y(value), r: 3.5 })];
    });
    return [line, ...dots];
  }

  #pointed(event) {
    const { left, width } = this.#svg.getBoundingClientRect();
    const end = this.#points.at(-1)?.at ?? 0;
    const at = end - (1 - (event.clientX - left) / width) * spanOf(this.#points);
    let nearest = null;
    this.#points.forEach((point, index) => {
      const isNearer = nearest === null || Math.abs(point.at - at) < Math.abs(this.#points[nearest].at - at);
      if (isNearer) nearest = index;
    });
    this.#onCursor(nearest);
  }

  /** The arrow keys move between readings; Home and End go to the first and the last one. */
  #pressed(event) {
    const last = this.#points.length - 1;
    const from = this.#cursor ?? last;
    const places = {
      ArrowLeft: from - 1, ArrowRight: from + 1, PageUp: from - 60, PageDown: from + 60, Home: 0, End: last,
    };
    if (event.key === "Escape") return this.#onCursor(null);
    if (places[event.key] === undefined || last < 0) return;
    event.preventDefault();
    this.#onCursor(Math.min(last, Math.max(0, places[event.key])));
  }
}
