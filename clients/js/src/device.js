/**
 * A device: follows its sync timeline, fills gaps, and shows items in order, as
 * `consumers/device/device.py` does. It registers first, then it repeats:
 *
 * 1. Take the next records of the sync timeline; wait for them if there is nothing else to do. Pass
 *    each record to the observer.
 * 2. Put the records and the cursor into the local store in one write. Show all items that have no
 *    gap before them.
 * 3. If no more records are available now, request the heads: all of them after a failure, otherwise
 *    only while a conversation is pulled and nothing pushes its head, or while a read mark of
 *    another device has no message count here.
 * 4. Read gaps from the store.
 * 5. Show all items that have no gap before them, in order, and note them as shown.
 *
 * If the log has lost the records up to the cursor, because an operator restored a backup, the device
 * registers again, forgets its items, and shows everything again from the same starts.
 *
 * The process may end between any two steps. After that, records may be observed again, and the
 * items in progress may be shown again. Nothing else happens twice, and nothing is lost.
 */
import { ClientClosed, CursorAhead, GatewayUnavailable, StorageFailure, Trimmed } from "./errors.js";
import { pause } from "./http.js";
import { RECALLED } from "./knowledge.js";

/** Pause between two turns when the first one brought nothing and there is still a gap. */
const GAP_PAUSE_MS = 500;

/** Maximum wait for records when there is nothing else to do. */
const RECORD_WAIT_MS = 20_000;

/** Maximum age of the heads of pulled conversations when nothing pushes the heads. */
const HEADS_AGE_MS = 1_000;

/** Maximum age of the heads when they are pushed: a pushed head may get lost. */
const REVIEW_MS = 60_000;

const AFTER_FAILURE_MS = 2_000;

/** Gaps that are read at once, one for each conversation. */
const GAPS = 8;

/** Items that are shown between two writes. */
const SHOWN = 500;

/** Minimum interval between two reports of the cursor. */
const REPORT_MS = 30_000;

/** Runs one `LocalStore`. `show(item)` and `observe(record)` may return promises. */
export class Device {
  #parts;
  #signal;
  #missed = true;
  #areHeadsPushed = false;
  #areHeadsDue = true;
  #headsAt;
  #patience = 0;
  #reported = null;
  #reportAt = 0;
  #nudge = new AbortController();
  #headsAge;

  /** `parts`: `{store, source, timelines, deviceId, window, show, observe, restart, onState}`. */
  constructor(parts, signal, { headsAgeMs = HEADS_AGE_MS } = {}) {
    this.#parts = parts;
    this.#signal = signal;
    this.#headsAge = headsAgeMs;
    this.#headsAt = Date.now();
  }

  /** Take turns until the signal aborts. Retries while a server does not answer. */
  async run() {
    const { onState } = this.#parts;
    while (!this.#signal.aborted) {
      let ms = 0;
      try {
        ms = await this.#step();
        onState(this.#missed ? "connecting" : "online");
      } catch (error) {
        if (error instanceof ClientClosed || this.#signal.aborted) return;
        ms = await this.#after(error);
      }
      if (ms > 0) await pause(ms, AbortSignal.any([this.#signal, this.#nudge.signal]));
    }
  }

  /** End a pause after a failure. */
  nudge() {
    this.#nudge.abort();
    this.#nudge = new AbortController();
  }

  /** Do the steps once; return whether anything arrived or was read. */
  async turn() {
    try {
      return await this.#takeTurn();
    } catch (error) {
      if (!(error instanceof CursorAhead)) throw error;
      await this.#beginAgain();
      return true;
    }
  }

  async #takeTurn() {
    const { store, timelines, deviceId, window } = this.#parts;
    if (!store.hasBegun) await store.begin(await timelines.register(deviceId, window));
    const { came, more } = await this.#follow(); // steps 1 and 2
    if (!more) await this.#askForHeads(); // step 3
    const hasRead = await this.#fillGaps(); // step 4
    await this.#showWhole(); // step 5
    await this.#report();
    return came || hasRead;
  }

  /** Register again, because the gateway may have lost the device, and forget all items. */
  async #beginAgain() {
    const { store, timelines, deviceId, window, restart } = this.#parts;
    const beginning = await timelines.register(deviceId, window);
    await restart();
    await store.beginAgain(beginning);
    this.#missed = true;
    this.#reported = null;
  }

  async #step() {
    let came;
    try {
      came = await this.turn();
    } finally {
      this.#patience = 0;
    }
    if (came) return 0;
    this.#patience = this.#timeToWait();
    return this.#patience > 0 ? 0 : GAP_PAUSE_MS;
  }

  async #after(error) {
    this.#missed = true;
    if (error instanceof Trimmed) {
      await this.#parts.store.skipTo(error.oldest - 1n);
      return 0;
    }
    const isPassing = error instanceof GatewayUnavailable || error instanceof StorageFailure;
    if (!isPassing) throw error;
    this.#parts.onState("offline");
    return AFTER_FAILURE_MS;
  }

  #timeToWait() {
    const { store } = this.#parts;
    if (this.#missed || store.hasGaps()) return 0;
    const mayMissHeads = this.#areHeadsDue || !this.#areHeadsPushed;
    const asks = (mayMissHeads && store.readsStore()) || store.lacksCount();
    return asks ? HEADS_AGE_MS : RECORD_WAIT_MS;
  }

  async #follow() {
    const { store, source, observe } = this.#parts;
    const batch = await source.after(store.cursor, this.#patience);
    for (const record of batch.arrived) {
      if (record.kind === "recalled") this.#missed = true; // as in step 4
      await observe(record);
    }
    await store.apply(batch);
    this.#areHeadsPushed = batch.heads !== null;
    const areKnown = batch.heads !== null && (await store.notePushedHeads(batch.heads));
    if (!areKnown) this.#areHeadsDue = true;
    await this.#showWhole();
    const hasHeads = batch.heads !== null && batch.heads.size > 0;
    return { came: batch.arrived.length > 0 || hasHeads, more: batch.more };
  }

  async #askForHeads() {
    if (!this.#missed && !this.#isTimeForHeads()) return;
    const { store, timelines } = this.#parts;
    await store.noteHeads(await timelines.conversations(), this.#missed);
    this.#missed = this.#areHeadsDue = false;
    this.#headsAt = Date.now();
  }

  #isTimeForHeads() {
    const { store } = this.#parts;
    const age = Date.now() - this.#headsAt;
    const isDue = this.#areHeadsDue || age >= REVIEW_MS;
    return age >= this.#headsAge && ((isDue && store.readsStore()) || store.lacksCount());
  }

  async #fillGaps() {
    const { store, timelines } = this.#parts;
    const gaps = await store.gaps(GAPS);
    const parts = await Promise.all(gaps.map((gap) => timelines.part(gap)));
    let hasLearned = false;
    for (const part of parts) {
      hasLearned = (await store.learn(part)) || hasLearned;
      // The recalled entry may have set the owner's read mark: only the list has the mark.
      if (part.items.some((item) => item.hole === RECALLED)) this.#missed = true;
    }
    return hasLearned;
  }

  async #showWhole() {
    const { store, show } = this.#parts;
    for (;;) {
      const items = await store.unshown(SHOWN);
      if (items.length === 0) return;
      for (const item of items) await show(item);
      await store.markShown(items.at(-1));
    }
  }

  /** Report the cursor at most once in `REPORT_MS`. */
  async #report() {
    const { store, timelines, deviceId } = this.#parts;
    const { cursor } = store;
    if (cursor === this.#reported || Date.now() < this.#reportAt) return;
    this.#reportAt = Date.now() + REPORT_MS;
    try {
      await timelines.report(deviceId, cursor);
      this.#reported = cursor;
    } catch (error) {
      if (!(error instanceof GatewayUnavailable)) throw error;
    }
  }
}
