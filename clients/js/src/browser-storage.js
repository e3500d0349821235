/**
 * The storage of a browser: IndexedDB. Each window of a person has its own database, because each
 * window follows and sends by itself; the windows meet at the gateway. A window holds a lock for its
 * database, and a new window takes the first free one. So the number of databases is the largest
 * number of windows that were open at once. When a window was closed with unsent commands, another
 * window sends them.
 */
import { StorageFailure } from "./errors.js";
import { pause } from "./http.js";
import { randomHex } from "./ids.js";

const STORE = "values";
const MOST_WINDOWS = 16;

/** A reload may ask for its lock just before the page that it replaces has released it. */
const RELOAD_MS = 150;

/** Whether this browser has what `openBrowserStorage` needs: a secure context has it. */
export function hasBrowserStorage() {
  return Boolean(globalThis.indexedDB && globalThis.navigator?.locks && globalThis.localStorage);
}

/** See `openBrowserStorage`. `deviceId`: the device of the browser's profile. */
export class BrowserStorage {
  #name;
  #slot;
  #database;
  #release;

  constructor(name, { slot, release }, database, deviceId) {
    this.#name = name;
    this.#slot = slot;
    this.#release = release;
    this.#database = database;
    this.deviceId = deviceId;
  }

  async read(group) {
    return readGroup(this.#database, group);
  }

  async write(changes) {
    return writeAll(this.#database, changes);
  }

  async close() {
    this.#database.close();
    this.#release();
  }

  /** Pass the commands of closed windows to `adopt`, a function that stores them elsewhere. */
  async adoptOrphans(adopt) {
    const existing = new Set((await indexedDB.databases()).map((each) => each.name));
    for (let slot = 0; slot < MOST_WINDOWS; slot += 1) {
      const name = databaseName(this.#name, slot);
      if (slot === this.#slot || !existing.has(name)) continue;
      await navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
        if (lock !== null) await emptyOutbox(name, adopt);
      });
    }
  }
}

/** Open the first free database of a person. `name` distinguishes deployments of one origin. */
export async function openBrowserStorage(user, name = "im-timeline") {
  const own = `${name}:${user}`;
  const held = await firstFree(own);
  return new BrowserStorage(own, held, await open(databaseName(own, held.slot)), deviceOf(own));
}

/** Delete what this browser has of a person, except the databases of open windows. */
export async function deleteBrowserStorage(user, name = "im-timeline") {
  const own = `${name}:${user}`;
  for (let slot = 0; slot < MOST_WINDOWS; slot += 1) {
    const database = databaseName(own, slot);
    await navigator.locks.request(database, { ifAvailable: true }, async (lock) => {
      if (lock !== null) await result(indexedDB.deleteDatabase(database));
    });
  }
}

function databaseName(own, slot) {
  return `${own}:${slot}`;
}

/** The id of the device: one for each person and profile of a browser. */
function deviceOf(own) {
  const key = `${own}:device`;
  const found = localStorage.getItem(key);
  if (found !== null) return found;
  const made = `web-${randomHex(16)}`;
  localStorage.setItem(key, made);
  return made;
}

async function firstFree(own) {
  for (let slot = 0; slot < MOST_WINDOWS; slot += 1) {
    const name = databaseName(own, slot);
    let release = await tryLock(name);
    if (release === null && slot === 0) {
      await pause(RELOAD_MS);
      release = await tryLock(name);
    }
    if (release !== null) return { slot, release };
  }
  throw new StorageFailure(`a person can have ${MOST_WINDOWS} windows of one browser`);
}

/** Take a lock; resolves with a function that releases it, or null if it is taken. */
function tryLock(name) {
  return new Promise((resolve, reject) => {
    const holding = navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock === null) return resolve(null);
      return new Promise((release) => resolve(release));
    });
    holding.catch(reject);
  });
}

async function emptyOutbox(name, adopt) {
  const database = await open(name);
  try {
    const commands = await readGroup(database, "outbox");
    if (commands.length === 0) return;
    await adopt(commands.map(([, value]) => value));
    await writeAll(database, commands.map(([key]) => ["outbox", key, null]));
  } finally {
    database.close();
  }
}

function open(name) {
  const request = indexedDB.open(name, 1);
  request.addEventListener("upgradeneeded", () => request.result.createObjectStore(STORE));
  return result(request);
}

async function readGroup(database, group) {
  const store = database.transaction(STORE).objectStore(STORE);
  const range = IDBKeyRange.bound([group], [group, []]);
  const [keys, values] = await Promise.all([
    result(store.getAllKeys(range)),
    result(store.getAll(range)),
  ]);
  return keys.map(([, key], place) => [key, values[place]]);
}

function writeAll(database, changes) {
  return new Promise((resolve, reject) => {
    // "Queued" is a promise to a person, so a command is on the disk before it is sent.
    const durability = changes.some(([group]) => group === "outbox") ? "strict" : "relaxed";
    const fail = (error) => reject(new StorageFailure(`IndexedDB refuses: ${error?.name}`));
    try {
      const transaction = database.transaction(STORE, "readwrite", { durability });
      transaction.addEventListener("complete", () => resolve());
      transaction.addEventListener("abort", () => fail(transaction.error));
      const store = transaction.objectStore(STORE);
      for (const [group, key, value] of changes) {
        if (value === null) store.delete([group, key]);
        else store.put(value, [group, key]);
      }
    } catch (error) {
      fail(error);
    }
  });
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => {
      reject(new StorageFailure(`IndexedDB refuses: ${request.error?.name}`));
    });
  });
}
