/** The requests about devices and push addresses, with a gateway in memory. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Devices } from "../../src/devices.js";
import { GatewayUnavailable, RequestRefused } from "../../src/errors.js";

const ADDRESS = { provider: "webhook", url: "https://hooks.example/phone" };

/** The requests of a device, and its `Devices`. `answer(method)` returns a body, or throws. */
function opened({ isRegistered = true, answer = () => null } = {}) {
  const sent = [];
  const http = {
    async send(method, path, { body } = {}) {
      sent.push([method, path, body]);
      return answer(method);
    },
  };
  return { sent, devices: new Devices(http, "a/b", () => isRegistered) };
}

test("an address is registered for this device, which registers first if it is new", async () => {
  const known = opened();
  await known.devices.registerPush(ADDRESS);
  const put = ["PUT", "/v1/devices/a%2Fb/push", ADDRESS];
  assert.deepEqual(known.sent, [put]);
  const fresh = opened({ isRegistered: false });
  await fresh.devices.registerPush(ADDRESS);
  assert.deepEqual(fresh.sent, [["POST", "/v1/devices", { device_id: "a/b" }], put]);
});

test("a cursor of 63 bits in the list keeps its digits", async () => {
  const listed = { device_id: "a", policy: "window", window: 9, since: 1, seen: 2, cursor: "9007199254740993" };
  const { devices } = opened({ answer: () => ({ devices: [listed] }) });
  assert.deepEqual(await devices.list(), [
    { deviceId: "a", policy: "window", window: 9, since: 1, seen: 2, cursor: 9007199254740993n },
  ]);
});

test("a deletion without effect is a success, another failure is none", async () => {
  const missing = new RequestRefused(404, "no-such-device", "");
  const { sent, devices } = opened({
    answer: () => {
      throw missing;
    },
  });
  await devices.removePush();
  await devices.remove("c");
  assert.deepEqual(sent.map(([method, path]) => `${method} ${path}`), [
    "DELETE /v1/devices/a%2Fb/push", "DELETE /v1/devices/c",
  ]);
  await assert.rejects(devices.registerPush(ADDRESS), missing);
  const away = opened({
    answer: () => {
      throw new GatewayUnavailable("away");
    },
  });
  await assert.rejects(away.devices.removePush(), GatewayUnavailable);
});
