/** The devices of a person, and the push address of this device. */

/** The push address of a device: docs/push.md describes each provider. */
export type PushAddress =
  | { provider: "webhook"; url: string }
  | { provider: "matrix"; gateway: string; app_id: string; pushkey: string }
  | { provider: "web_push"; endpoint: string; p256dh: string; auth: string };

/** A device as the gateway knows it. */
export interface DeviceShown {
  deviceId: string;
  policy: "new-messages-only" | "window" | "full-history";
  /** The number of SeqIds of each conversation, for the policy `window`. */
  window: number | null;
  /** The time of the registration, and of the last report, in milliseconds since 1970. */
  since: number;
  seen: number;
  /** The sync SeqId of the last report. */
  cursor: bigint;
}

/** See `Client.devices`. */
export class Devices {
  private constructor();
  /** All devices of the person, by id. No device shows its push address: the address is a secret. */
  list(): Promise<DeviceShown[]>;
  /** Remove a device and its push address. Without such a device, nothing happens. */
  remove(deviceId: string): Promise<void>;
  /** The key for the `applicationServerKey` of a browser's subscription; null if there is none. */
  pushKey(): Promise<string | null>;
  /**
   * Register the push address of this device, in place of an earlier one. Fails with
   * `RequestRefused` (`bad-body`) if the deployment would send no request to the address.
   */
  registerPush(address: PushAddress): Promise<void>;
  /** Remove the push address of this device. Without an address, nothing happens. */
  removePush(): Promise<void>;
}
