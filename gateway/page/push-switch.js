/**
 * The switch for notifications: subscribes the browser to Web Push, and registers the subscription
 * as the push address of the person's device. One browser has one subscription, so the person who
 * signed in last and turned the switch on gets the notifications.
 */
import { byId, notify } from "./dom.js";
import { currentToken } from "./session.js";
import { word } from "./words.js";

const REQUEST_MS = 10_000;

/** The device whose notifications this browser gets. */
const OWNER = "im-timeline:notifications";

export class PushSwitch {
  #deviceId;
  #key;
  #button = byId("notifications");
  #isOn = false;
  #token = currentToken();

  constructor(deviceId, key) {
    this.#deviceId = deviceId;
    this.#key = key;
    this.#button.onclick = () => void this.#toggle();
  }

  /** The switch, which is hidden if the browser or the deployment has no Web Push. */
  static async begin(deviceId) {
    const isPossible =
      navigator.serviceWorker !== undefined && "PushManager" in window && "Notification" in window;
    const key = isPossible ? await vapidKey() : null;
    byId("notifications").hidden = key === null;
    if (key === null) return null;
    const made = new PushSwitch(deviceId, key);
    await made.#renew();
    return made;
  }

  draw() {
    this.#button.setAttribute("aria-pressed", String(this.#isOn));
    this.#button.title = word(this.#isOn ? "notificationsOn" : "notificationsOff");
    this.#button.setAttribute("aria-label", this.#button.title);
  }

  /** End the notifications of this browser. */
  async end() {
    if (this.#isOn) await this.#turnOff().catch(() => {});
  }

  /** Register an existing subscription again: the browser may have changed it. */
  async #renew() {
    const subscription = await this.#subscription().catch(() => null);
    const isOurs = subscription !== null && localStorage.getItem(OWNER) === this.#deviceId;
    this.#isOn = isOurs && Notification.permission === "granted";
    if (this.#isOn) await this.#register(subscription).catch(() => {}); // at the next start
    this.draw();
  }

  async #toggle() {
    this.#button.disabled = true;
    try {
      await (this.#isOn ? this.#turnOff() : this.#turnOn());
    } catch {
      notify(word("notNow"));
    } finally {
      this.#button.disabled = false;
      this.draw();
    }
  }

  async #turnOn() {
    if ((await Notification.requestPermission()) !== "granted") {
      notify(word("notificationsDenied"));
      return;
    }
    const { pushManager } = await navigator.serviceWorker.ready;
    // A subscription with another key, or of another person's device, cannot be taken over.
    await (await pushManager.getSubscription())?.unsubscribe();
    const subscription = await pushManager.subscribe({
      userVisibleOnly: true,
      applicationServerKey: this.#key,
    });
    await this.#register(subscription);
    localStorage.setItem(OWNER, this.#deviceId);
    this.#isOn = true;
  }

  async #turnOff() {
    this.#isOn = false;
    localStorage.removeItem(OWNER);
    await (await this.#subscription())?.unsubscribe();
    await request(this.#token, "DELETE", this.#path);
  }

  async #subscription() {
    return (await navigator.serviceWorker.ready).pushManager.getSubscription();
  }

  async #register(subscription) {
    const { endpoint, keys } = subscription.toJSON();
    const { p256dh, auth } = keys;
    await request(this.#token, "PUT", this.#path, { provider: "web_push", endpoint, p256dh, auth });
  }

  get #path() {
    return `/v1/devices/${encodeURIComponent(this.#deviceId)}/push`;
  }
}

/** The public key of the deployment; null if it has none, or does not answer. */
async function vapidKey() {
  try {
    return (await (await request(currentToken(), "GET", "/v1/push")).json()).vapid_key;
  } catch {
    return null;
  }
}

async function request(token, method, path, body) {
  const response = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${token}` },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response;
}
