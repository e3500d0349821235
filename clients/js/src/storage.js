/**
 * Storages: where a client stores its state. A storage has groups; a group maps keys (strings or
 * numbers) to values that JSON can express.
 *
 * - `read(group)` resolves to all `[key, value]` of a group, in the order of keys.
 * - `write(changes)` stores `[group, key, value]` triples, all or none; the value null deletes.
 * - `close()` releases the storage for another client.
 *
 * A client holds its storage alone. See `browser-storage.js` and `file-storage.js` for durable ones.
 */

function byKey([one], [other]) {
  return one < other ? -1 : Number(one > other);
}

/** A storage in memory: its content ends with the process. */
export class MemoryStorage {
  #groups = new Map();

  async read(group) {
    const found = [...(this.#groups.get(group) ?? new Map())].sort(byKey);
    return found.map(([key, json]) => [key, JSON.parse(json)]);
  }

  async write(changes) {
    this.apply(changes);
  }

  /** `write`, without a promise. */
  apply(changes) {
    for (const [group, key, value] of changes) {
      if (!this.#groups.has(group)) this.#groups.set(group, new Map());
      const values = this.#groups.get(group);
      if (value === null) values.delete(key);
      else values.set(key, JSON.stringify(value));
      if (values.size === 0) this.#groups.delete(group);
    }
  }

  /** All content as triples, as `write` takes them. */
  *content() {
    for (const [group, values] of this.#groups) {
      for (const [key, json] of values) yield [group, key, JSON.parse(json)];
    }
  }

  async close() {}
}
