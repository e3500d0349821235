/** Numbers as people read them, scales of charts, and the readings of the last minutes. */

/** The readings of this time are shown. */
export const SHOWN_MS = 300_000;

/** Readings further apart than this are not joined by a line. */
export const GAP_MS = 5_000;

/** A count, short if it is large. */
export function countOf(value, locale) {
  const notation = value < 10_000 ? "standard" : "compact";
  return new Intl.NumberFormat(locale, { notation, maximumFractionDigits: 1 }).format(value);
}

/** A rate per second; with a decimal while it is low. */
export function rateOf(value, locale) {
  if (value === null) return "–";
  const maximumFractionDigits = value < 10 ? 1 : 0;
  return new Intl.NumberFormat(locale, { maximumFractionDigits }).format(value);
}

/** A duration in milliseconds, with the unit that suits it. */
export function durationOf(ms, locale) {
  if (ms === null) return "–";
  const units = [["millisecond", 1, 1_000], ["second", 1_000, 60_000], ["minute", 60_000, 3_600_000]];
  const [unit, size] = units.find(([, , end]) => ms < end) ?? ["hour", 3_600_000];
  const value = ms / size;
  const maximumFractionDigits = unit === "millisecond" || value >= 10 ? 0 : 1;
  const options = { style: "unit", unit, unitDisplay: "narrow", maximumFractionDigits };
  return new Intl.NumberFormat(locale, options).format(value);
}

/** The time that charts show: as much as there is, in a few steps, so that the scale rarely changes. */
export function spanOf(points) {
  const age = points.length === 0 ? 0 : points.at(-1).at - points[0].at;
  return [60_000, 120_000].find((span) => age <= span) ?? SHOWN_MS;
}

/** The ages of the labels on an axis of time. */
export function agesOf(span) {
  const step = span < SHOWN_MS ? span / 4 : 60_000;
  return [4, 3, 2, 1].map((count) => count * step).filter((age) => age < span);
}

/** A round number that is at least `value`, and at least `least`: the top of a scale. */
export function topOf(value, least) {
  const wanted = Math.max(value, least);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 4, 5, 10].find((each) => each * power >= wanted);
  return step * power;
}

/** Readings with new ones added: sorted, each once, only those of the last minutes. */
export function merged(points, more) {
  const byTime = new Map([...points, ...more].map((point) => [point.at, point]));
  const all = [...byTime.values()].sort((one, other) => one.at - other.at);
  const begin = (all.at(-1)?.at ?? 0) - SHOWN_MS;
  return all.filter((point) => point.at >= begin);
}

/** How many of the last readings to ask for, if the last known one is `age` old. */
export function pointsToAsk(age) {
  if (age === null || age >= SHOWN_MS) return SHOWN_MS / 1_000;
  return Math.min(SHOWN_MS / 1_000, Math.ceil(age / 1_000) + 3);
}

/** The lines of a series: lists of `[at, value]` without gaps. */
export function linesOf(points, valueOf) {
  const lines = [];
  let before = null;
  for (const point of points) {
    const value = valueOf(point);
    if (value === null || value === undefined) {
      before = null;
      continue;
    }
    if (before === null || point.at - before > GAP_MS) lines.push([]);
    lines.at(-1).push([point.at, value]);
    before = point.at;
  }
  return lines;
}

/** The stage of a pipeline that needs attention first; undefined if none does. */
export function worstOf(stages) {
  const order = ["unowned", "stalled", "behind"];
  const troubled = stages.filter((stage) => order.includes(stage.state));
  return troubled.sort((one, other) => order.indexOf(one.state) - order.indexOf(other.state))[0];
}
