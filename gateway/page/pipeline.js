/** The page about the pipeline, for operators: asks the gateway once a second while it is seen. */
import { Chart } from "./chart.js";
import { byId } from "./dom.js";
import { durationOf, merged, pointsToAsk, rateOf, countOf, worstOf } from "./figures.js";
import { FlowView } from "./flow-view.js";
import { drawLetters } from "./letters-view.js";
import "./pipeline-words.js";
import { currentToken, signIn, signOut } from "./session.js";
import { changeLanguage, locale, translate, word } from "./words.js";

const STAGES = ["sequencer", "sink-message", "sink-sync", "sink-search", "sink-push", "webhooks"];
const ASK_MS = 1_000;
const RETRY_MS = 2_000;
const ANSWER_MS = 12_000;

/** The lowest tops of the scales: a flat line stays at the bottom. */
const LEAST = { rate: 10, lag: 10, delay: 100 };

const flow = new FlowView(byId("flow"), STAGES);
const charts = {
  rate: chartOf("rate", ({ rates }) => rates, (value) => rateOf(value, locale())),
  lag: chartOf("lag", ({ lags }) => lags, (value) => (value === null ? "–" : countOf(value, locale()))),
  delay: chartOf("delay", ({ delays }) => delays, (value) => durationOf(value, locale())),
};

let shown = null;
let points = [];
let cursorAt = null;
let watching = new AbortController();

/** A chart. `valuesOf` returns the values of a reading, in the order of the answer's stages. */
function chartOf(name, valuesOf, format) {
  const valueOf = (point, at) => {
    const place = shown.stages.findIndex((stage) => stage.name === STAGES[at]);
    return valuesOf(point)[place] ?? null;
  };
  const onCursor = (index) => {
    cursorAt = index === null ? null : points[index].at;
    drawCharts();
  };
  const chart = new Chart({ stages: STAGES, valueOf, format, least: LEAST[name], onCursor });
  chart.element.dataset.chart = name;
  byId("charts").append(chart.element);
  return chart;
}

function welcome(reason = "") {
  watching.abort();
  signOut();
  shown = null;
  points = [];
  byId("app").hidden = true;
  byId("welcome").hidden = false;
  byId("welcome-reason").textContent = reason;
  byId("welcome-reason").hidden = reason === "";
  byId("token").focus();
}

/** Ask until another call begins, or the token is refused. */
async function watch() {
  watching.abort();
  watching = new AbortController();
  const { signal } = watching;
  byId("welcome").hidden = true;
  byId("app").hidden = false;
  if (shown === null) tell(word("reading"), "quiet");
  while (!signal.aborted) {
    const begun = Date.now();
    let pause = RETRY_MS;
    if (!document.hidden) {
      const answer = await ask(signal);
      if (signal.aborted) return;
      if (answer === "refused") return welcome(word("expired"));
      if (answer === "forbidden") return welcome(word("notOperator"));
      show(answer);
      if (answer !== null) pause = Math.max(100, ASK_MS - (Date.now() - begun));
    }
    await rest(pause, signal);
  }
}

/** The answer of the gateway; a word if the token is no good; null if there is no answer now. */
async function ask(signal) {
  const last = points.at(-1)?.at;
  const wanted = pointsToAsk(last === undefined ? null : Date.now() - last);
  const timeout = AbortSignal.timeout(ANSWER_MS);
  try {
    const response = await fetch(`/v1/pipeline?points=${wanted}`, {
      headers: { Authorization: `Bearer ${currentToken()}` },
      cache: "no-store",
      signal: AbortSignal.any([signal, timeout]),
    });
    if (response.status === 401) return "refused";
    if (response.status === 403) return "forbidden";
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/** Wait; a page that is seen again asks at once. */
function rest(ms, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    document.addEventListener("visibilitychange", end);
    signal.addEventListener("abort", end, { once: true });
  });
}

function show(answer) {
  const trouble = answer === null ? word("noAnswer") : answer.trouble;
  byId("trouble").hidden = trouble === null;
  byId("trouble").textContent = trouble ?? "";
  document.body.classList.toggle("old", trouble !== null);
  if (answer !== null && answer.at !== null) {
    shown = answer;
    points = merged(points, answer.points);
  }
  draw(trouble !== null);
}

function draw(isTroubled = document.body.classList.contains("old")) {
  if (isTroubled) tell(word("notRead"), "bad");
  if (shown === null) return;
  flow.draw(shown, points);
  drawCharts();
  drawLetters(shown);
  const time = new Intl.DateTimeFormat(locale(), { timeStyle: "medium" }).format(shown.at);
  byId("updated").textContent = word("updated", { time });
  const worst = worstOf(shown.stages);
  if (isTroubled) return;
  if (worst !== undefined) {
    tell(word("troubled", { stage: word(worst.name), state: word(worst.state) }), worst.state === "behind" ? "slow" : "bad");
  } else if (shown.servers.status !== "ok") {
    tell(troubleOf(shown.servers), "bad");
  } else tell(word("healthy"), "good");
}

function troubleOf(servers) {
  const names = { kafka: "Kafka", cassandra: "Cassandra", elasticsearch: "Elasticsearch" };
  const down = Object.keys(names).filter((name) => servers[name] === "down");
  const [subject, state] = down.length > 0 ? [names[down[0]], "down"] : [word("gateway"), servers.status];
  return word("troubled", { stage: subject, state: word(state) });
}

function drawCharts() {
  const index = points.findIndex((point) => point.at === cursorAt);
  const cursor = index < 0 ? null : index;
  const format = new Intl.DateTimeFormat(locale(), { timeStyle: "medium" });
  for (const chart of Object.values(charts)) chart.draw(points, cursor, (at) => format.format(at));
}

function tell(text, kind) {
  const verdict = byId("verdict");
  if (verdict.textContent !== text) verdict.textContent = text; // announced once
  verdict.dataset.kind = kind;
}

function showWords() {
  translate();
  document.title = `im-timeline · ${word("pipeline")}`;
  flow.translate();
  const names = STAGES.map((name) => word(name));
  for (const [name, chart] of Object.entries(charts)) chart.translate(word(`${name}Axis`), names);
  draw();
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = byId("token");
  if (signIn(field.value)) void watch();
  else welcome(word("notToken"));
  field.value = "";
});
byId("sign-out").addEventListener("click", () => welcome());
for (const button of document.querySelectorAll("button.language")) {
  button.addEventListener("click", () => {
    changeLanguage();
    showWords();
  });
}
window.addEventListener("hashchange", () => location.reload()); // the link of another person
new ResizeObserver(drawCharts).observe(byId("charts"));

showWords();
if (currentToken() === null) welcome();
else void watch();
