/** The marked places of a search hit. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { placesOf, termsOf } from "../../../../gateway/page/highlight.js";

const marks = (text, ...terms) => placesOf(text, terms).map(({ begin, end }) => text.slice(begin, end));

test("the terms of a query are words, and phrases without their quotes", () => {
  assert.deepEqual(termsOf('tea "two words" "open'), ["tea", "two words", "open"]);
});

test("a form that the search treats as equal is marked in the words of the text", () => {
  assert.deepEqual(marks("An der Straße 5", "strasse"), ["Straße"]);
  assert.deepEqual(marks("STRASSE", "straße"), ["STRASSE"]);
  assert.deepEqual(marks("ﬁne Ｔｅａ", "fine", "tea"), ["ﬁne", "Ｔｅａ"]);
  assert.deepEqual(marks("İstanbul, ΟΔΟΣ", "istanbul", "οδος"), ["İstanbul", "ΟΔΟΣ"]);
  assert.deepEqual(marks("cafe\u0301 noir", "CAFÉ"), ["cafe\u0301"]);
});

test("a character that becomes longer does not move the later places", () => {
  assert.deepEqual(marks("ßßß 👩‍🚀 你好 tea", "tea", "你好"), ["你好", "tea"]);
});

test("each place is marked once, and touching places are one", () => {
  assert.deepEqual(marks("tea Tea teapot", "tea", "teapot"), ["tea", "Tea", "teapot"]);
  assert.deepEqual(placesOf("abcd", ["ab", "cd"]), [{ begin: 0, end: 4 }]);
  assert.deepEqual(marks("no match", "tea"), []);
  assert.deepEqual(placesOf("tea", []), []);
});
