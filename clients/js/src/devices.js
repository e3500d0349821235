/** The devices of a person, and the push address of this device. */
import { RequestRefused } from "./errors.js";

const NOT_FOUND = 404;

function pathOfDevice(deviceId) {
  return `/v1/devices/${encodeURIComponent(deviceId)}`;
}

/** See `Client.devices`. Errors: see `GatewayHttp.send`. */
export class Devices {
  #http;
  #deviceId;
  #isRegistered;

  /** `isRegistered()`: whether this device is known to have registered at the gateway. */
  constructor(http, deviceId, isRegistered) {
    this.#http = http;
    this.#deviceId = deviceId;
    this.#isRegistered = isRegistered;
  }

  /** All devices of the person, by id. */
  async list() {
    const { devices } = await this.#http.send("GET", "/v1/devices");
    return devices.map(({ device_id: deviceId, cursor, ...others }) => {
      return { deviceId, ...others, cursor: BigInt(cursor) };
    });
  }

  /** Remove a device and its push address. It stops at its next report. */
  async remove(deviceId) {
    await this.#delete(pathOfDevice(deviceId));
  }

  /** The public key of the deployment for Web Push; null if it has none. */
  async pushKey() {
    return (await this.#http.send("GET", "/v1/push")).vapid_key;
  }

  /** Register the push address of this device, in place of an earlier one. */
  async registerPush(address) {
    // Not for a device that registered before: somebody may have removed it.
    if (!this.#isRegistered()) {
      await this.#http.send("POST", "/v1/devices", { body: { device_id: this.#deviceId } });
    }
    await this.#http.send("PUT", `${pathOfDevice(this.#deviceId)}/push`, { body: address });
  }

  /** Remove the push address of this device. */
  async removePush() {
    await this.#delete(`${pathOfDevice(this.#deviceId)}/push`);
  }

  /** Delete; nothing to delete is a success, because a lost response is followed by a retry. */
  async #delete(path) {
    try {
      await this.#http.send("DELETE", path);
    } catch (error) {
      if (!(error instanceof RequestRefused) || error.status !== NOT_FOUND) throw error;
    }
  }
}
