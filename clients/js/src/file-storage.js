/**
 * A storage in a file, for Node: a journal with one line of JSON for each write. After a crash, the
 * file has all of a write or nothing: an incomplete last line is ignored. At each start the journal
 * is replaced by its content.
 */
import { open, readFile, rename } from "node:fs/promises";

import { StorageFailure } from "./errors.js";
import { MemoryStorage } from "./storage.js";

/** A write is one line; the content is written in lines of this number of changes. */
const CHANGES_PER_LINE = 1000;

/** See `openFileStorage`. */
export class FileStorage {
  #memory;
  #file;
  #size;
  #writing = Promise.resolve();

  constructor(memory, file, size) {
    this.#memory = memory;
    this.#file = file;
    this.#size = size;
  }

  async read(group) {
    return this.#memory.read(group);
  }

  async write(changes) {
    const line = Buffer.from(`${JSON.stringify(changes)}\n`);
    const written = this.#writing.then(() => this.#append(line, changes));
    this.#writing = written.catch(() => {});
    return written;
  }

  async close() {
    await this.#writing;
    await this.#file.close();
  }

  async #append(line, changes) {
    try {
      await this.#file.write(line, 0, line.length, this.#size);
      await this.#file.datasync();
    } catch (error) {
      // The next write begins at the same place, so a partial line does not remain before it.
      throw new StorageFailure(`the file does not accept a write: ${error.code}`);
    }
    this.#size += line.length;
    this.#memory.apply(changes);
  }
}

/** Open the file of one client; create it if it is missing. One process at a time. */
export async function openFileStorage(path) {
  const memory = new MemoryStorage();
  for (const changes of await linesOf(path)) memory.apply(changes);
  const fresh = `${path}.new`;
  const file = await open(fresh, "w", 0o600);
  let size = 0;
  for (const line of inLines(memory.content())) {
    await file.write(line, 0, line.length, size);
    size += line.length;
  }
  await file.datasync();
  await rename(fresh, path);
  return new FileStorage(memory, file, size);
}

async function linesOf(path) {
  let text;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw new StorageFailure(`the file cannot be read: ${error.code}`);
  }
  const lines = text.split("\n");
  lines.pop(); // empty, or the incomplete line of a write that did not succeed
  return lines.map((line) => JSON.parse(line));
}

function* inLines(content) {
  let changes = [];
  for (const change of content) {
    changes.push(change);
    if (changes.length < CHANGES_PER_LINE) continue;
    yield Buffer.from(`${JSON.stringify(changes)}\n`);
    changes = [];
  }
  if (changes.length > 0) yield Buffer.from(`${JSON.stringify(changes)}\n`);
}
