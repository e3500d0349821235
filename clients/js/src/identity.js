/** Who the client is: the person of a token, and the id of the device. */
import { randomHex } from "./ids.js";

/** The person whom a token names. The gateway checks the token, not this function. */
export function userOf(token) {
  const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes)).sub;
}

/** The id of the device in a storage. The first call makes the id. */
export async function storedDevice(storage) {
  const found = new Map(await storage.read("identity")).get("device");
  if (found !== undefined) return found;
  const made = `js-${randomHex(16)}`;
  await storage.write([["identity", "device", made]]);
  return made;
}
