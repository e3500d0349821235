/** The switch that mutes the open conversation, on all devices of the person. */
import { byId, onceAFrame } from "./dom.js";
import { word } from "./words.js";

/** The switch of one conversation, until the signal aborts. */
export class MuteSwitch {
  #client;
  #convId;
  #button = byId("mute");

  constructor(client, convId, signal) {
    this.#client = client;
    this.#convId = convId;
    this.draw = onceAFrame(() => {
      if (!signal.aborted) this.#draw();
    });
    for (const type of ["record", "outbox", "settled"]) client.on(type, this.draw, { signal });
    this.#button.addEventListener("click", () => void this.#toggle(), { signal });
    this.draw();
  }

  #draw() {
    const conversation = this.#conversation();
    this.#button.hidden = !(conversation?.isMember ?? false);
    this.#button.setAttribute("aria-checked", String(this.#isMuted()));
    this.#button.textContent = word("mute");
    this.#button.title = word("muteTitle");
  }

  async #toggle() {
    await this.#client.mute(this.#convId, this.#isMuted() ? 0 : null);
  }

  #conversation() {
    return this.#client.conversations().find((each) => each.convId === this.#convId);
  }

  /** A mute that waits for the network counts already. */
  #isMuted() {
    const waiting = this.#client.pending(this.#convId).findLast(({ kind }) => kind === "mute");
    if (waiting !== undefined) return waiting.body.until !== 0;
    return (this.#conversation()?.mutedUntil ?? 0) > Date.now();
  }
}
