/** Numbers, scales and readings of the page about the pipeline. */
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  agesOf, countOf, durationOf, GAP_MS, linesOf, merged, pointsToAsk, rateOf, SHOWN_MS, spanOf, topOf, worstOf,
} from "../../../../gateway/page/figures.js";

test("numbers have the digits and the units that people read", () => {
  assert.equal(countOf(9_345, "en"), "9,345");
  assert.equal(countOf(12_345, "en"), "12.3K");
  assert.equal(countOf(1_234_567, "en"), "1.2M");
  assert.equal(rateOf(3.25, "en"), "3.3");
  assert.equal(rateOf(512.4, "en"), "512");
  assert.equal(rateOf(null, "en"), "–");
  assert.equal(durationOf(42, "en"), "42ms");
  assert.equal(durationOf(1_250, "en"), "1.3s");
  assert.equal(durationOf(90_000, "en"), "1.5m");
  assert.equal(durationOf(36_000_000, "en"), "10h");
  assert.equal(durationOf(null, "en"), "–");
});

test("the top of a scale is round, and not below the values", () => {
  assert.deepEqual([0, 9, 11, 39, 401, 999, 1_000].map((value) => topOf(value, 10)), [
    10, 10, 20, 40, 500, 1_000, 1_000,
  ]);
  assert.equal(topOf(0.4, 1), 1);
});

test("charts show the time of the readings, in steps", () => {
  const spans = [[], [7], [0, 60_000], [0, 60_001], [0, 120_001]].map((times) => {
    return spanOf(times.map((at) => ({ at })));
  });
  assert.deepEqual(agesOf(60_000), [45_000, 30_000, 15_000]);
  assert.deepEqual(agesOf(SHOWN_MS), [240_000, 180_000, 120_000, 60_000]);
  assert.deepEqual(spans, [60_000, 60_000, 60_000, 120_000, SHOWN_MS]);
});

test("readings are sorted, each once, and only of the last minutes", () => {
  const point = (at) => ({ at });
  const found = merged([point(1), point(2_000), point(3_000)], [point(3_000), point(4_000)]);
  assert.deepEqual(found.map(({ at }) => at), [1, 2_000, 3_000, 4_000]);
  assert.deepEqual(merged(found, [point(SHOWN_MS + 2_000)]).map(({ at }) => at), [
    2_000, 3_000, 4_000, SHOWN_MS + 2_000,
  ]);
  assert.deepEqual(merged([], []), []);
});

test("a page asks for the readings that it does not have", () => {
  assert.equal(pointsToAsk(null), SHOWN_MS / 1_000);
  assert.equal(pointsToAsk(1_000), 4);
  assert.equal(pointsToAsk(60_500), 64);
  assert.equal(pointsToAsk(SHOWN_MS * 9), SHOWN_MS / 1_000);
});

test("a line has a gap where readings or values are missing", () => {
  const points = [[0, 1], [1_000, 2], [2_000, null], [3_000, 4], [3_001 + GAP_MS, 5]];
  const found = linesOf(points.map(([at, value]) => ({ at, value })), ({ value }) => value);
  assert.deepEqual(found, [[[0, 1], [1_000, 2]], [[3_000, 4]], [[3_001 + GAP_MS, 5]]]);
});

test("the stage that needs attention first is the one without a process", () => {
  const stages = ["ok", "behind", "unowned", "stalled"].map((state) => ({ state }));
  assert.equal(worstOf(stages).state, "unowned");
  assert.equal(worstOf(stages.slice(0, 2)).state, "behind");
  assert.equal(worstOf(stages.slice(0, 1)), undefined);
});
