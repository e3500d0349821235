/**
 * The declarations (`.d.ts`) and the modules have the same exports, members and parameters.
 *
 * The test reads the declarations by their layout: one level of indentation for a member. A
 * compiler of TypeScript would need a second package manager on every machine that runs the tests.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { MemoryStorage } from "../../src/storage.js";

const SOURCES = new URL("../../src/", import.meta.url);
const INHERITED = new Set(["constructor", "stack", "message", "name", "cause"]);

/** How the test makes an instance of each class, for the fields that a constructor sets. */
const INSTANCES = {
  Client: (module) => new module.Client({ user: "ann", deviceId: "phone" }),
  FileStorage: (module) => new module.FileStorage(new MemoryStorage(), null, 0),
  RequestRefused: (module) => new module.RequestRefused(400, "bad-body", "detail"),
  CommandRejected: (module) => new module.CommandRejected("stale", "id"),
  Trimmed: (module) => new module.Trimmed(1n, 2n),
};

async function source(file) {
  return readFile(new URL(file, SOURCES), "utf8");
}

/** A declaration file without comments. */
async function declarationsOf(file) {
  return (await source(file)).replace(/\/\*[\s\S]*?\*\//g, "");
}

/** The text between the bracket at `from` and its partner. */
function inBrackets(text, from) {
  let depth = 0;
  for (let at = from; at < text.length; at += 1) {
    if ("({[".includes(text[at])) depth += 1;
    if (")}]".includes(text[at])) depth -= 1;
    if (depth === 0) return text.slice(from + 1, at);
  }
  throw new Error("a bracket is open");
}

/** The number of parameters before the first optional one. */
function requiredIn(parameters) {
  let depth = 0;
  const parts = [""];
  for (const character of parameters) {
    if ("({[<".includes(character)) depth += 1;
    if (")}]>".includes(character)) depth -= 1;
    if (character === "," && depth === 0) parts.push("");
    else parts[parts.length - 1] += character;
  }
  return parts.filter((part) => /^\s*\w+:/.test(part)).length;
}

/** The members of a class: their names, with the number of required parameters of methods. */
function membersOf(body) {
  const found = new Map();
  for (const match of body.matchAll(/^ {2}(?:readonly |private )?(\w+)(?:<.*>)?\??([(:])/gm)) {
    const open = match.index + match[0].length - 1;
    const isMethod = match[2] === "(" && match[1] !== "constructor";
    found.set(match[1], isMethod ? requiredIn(inBrackets(body, open)) : null);
  }
  found.delete("constructor");
  return found;
}

/** The names that exist at run time, and their kinds. */
function declared(text) {
  const found = new Map();
  for (const match of text.matchAll(/^export (class|function) (\w+)/gm)) {
    const [, kind, name] = match;
    const open = text.indexOf(kind === "class" ? "{" : "(", match.index);
    const inner = inBrackets(text, open);
    found.set(name, kind === "class" ? membersOf(inner) : requiredIn(inner));
  }
  return found;
}

/** The members of a class at run time: those of its prototype, and the fields of an instance. */
function actualMembers(module, name) {
  const { prototype } = module[name];
  const fields = INSTANCES[name] ? Object.keys(INSTANCES[name](module)) : [];
  const names = [...Object.getOwnPropertyNames(prototype), ...fields];
  return new Map(
    names.filter((each) => !INHERITED.has(each)).map((each) => {
      const { value } = Object.getOwnPropertyDescriptor(prototype, each) ?? {};
      return [each, typeof value === "function" ? value.length : null];
    }),
  );
}

const sorted = (map) => [...map].sort(([one], [other]) => (one < other ? -1 : 1));

for (const name of ["im-timeline", "devices", "file-storage"]) {
  test(`the declarations of ${name}.js are those of the module`, async () => {
    const module = await import(new URL(`${name}.js`, SOURCES));
    const described = declared(await declarationsOf(`${name}.d.ts`));
    assert.deepEqual([...described.keys()].sort(), Object.keys(module).sort());
    for (const [exported, shape] of described) {
      if (typeof shape === "number") assert.equal(module[exported].length, shape, exported);
      else assert.deepEqual(sorted(actualMembers(module, exported)), sorted(shape), exported);
    }
  });
}

test("the declared events, states and kinds of commands are those of the client", async () => {
  const text = await declarationsOf("im-timeline.d.ts");
  const client = await source("im-timeline.js");
  const [, events] = text.match(/interface Events \{([\s\S]*?)^\}/m);
  const emitted = new Set([...client.matchAll(/#emit\("(\w+)"/g)].map(([, type]) => type));
  assert.deepEqual([...membersOf(events).keys()].sort(), [...emitted].sort());
  const [, kinds] = text.match(/^ {2}kind: ("create"[^;]*);/m);
  const used = [...client.matchAll(/#command\(\w+, "(\w+)"/g)].map(([, kind]) => kind);
  assert.deepEqual([...kinds.matchAll(/"(\w+)"/g)].map(([, kind]) => kind).sort(), used.sort());
});

test("the errors have the declared parents", async () => {
  const module = await import(new URL("im-timeline.js", SOURCES));
  const text = await declarationsOf("im-timeline.d.ts");
  for (const [, name, parent] of text.matchAll(/^export class (\w+) extends (\w+)/gm)) {
    const expected = module[parent] ?? globalThis[parent];
    assert.equal(Object.getPrototypeOf(module[name]), expected, name);
  }
});

test("a missing, an additional and a changed member are found", () => {
  const members = membersOf("\n  one(a: string, b?: { c: number }): void;\n  readonly two: number;\n");
  assert.deepEqual([...members], [["one", 1], ["two", null]]);
  assert.equal(requiredIn("a: Array<[string, number]>, b: (x: number) => void, c?: string"), 2);
});
