/** Ids: a `client_msg_id` is a UUIDv7 in lower case, so the order of strings is the order of ids. */

const RANDOM_BITS = 74n;
const LOW_BITS = 62n;
const MAX_RANDOM = (1n << RANDOM_BITS) - 1n;

/** Random bits as a BigInt. */
function randomBits(count) {
  const words = crypto.getRandomValues(new Uint32Array(Math.ceil(count / 32)));
  const number = words.reduce((sum, word) => (sum << 32n) | BigInt(word), 0n);
  return number & ((1n << BigInt(count)) - 1n);
}

/** A random text of `count` times four bits, for ids of devices and installations. */
export function randomHex(count) {
  return randomBits(count * 4).toString(16).padStart(count, "0");
}

/** A UUIDv7 from milliseconds since 1970 and 74 random bits. */
export function uuid7(ms, random) {
  const high = random >> LOW_BITS;
  const low = random & ((1n << LOW_BITS) - 1n);
  const number = (BigInt(ms) << 80n) | (7n << 76n) | (high << 64n) | (2n << 62n) | low;
  const digits = number.toString(16).padStart(32, "0");
  const cuts = [0, 8, 12, 16, 20, 32];
  return cuts.slice(1).map((end, place) => digits.slice(cuts[place], end)).join("-");
}

/** The milliseconds and the random bits of a UUIDv7. */
function partsOf(id) {
  const number = BigInt(`0x${id.replaceAll("-", "")}`);
  const high = (number >> 64n) & 0xfffn;
  const low = number & ((1n << LOW_BITS) - 1n);
  return { ms: Number(number >> 80n), random: (high << LOW_BITS) | low };
}

/** A new id above `last` (null: none), even if the clock went back. */
export function nextId(last, now = Date.now()) {
  // The highest bit is free, so that many ids of one millisecond can follow a random one.
  const random = randomBits(Number(RANDOM_BITS) - 1);
  if (last === null) return uuid7(now, random);
  const before = partsOf(last);
  if (now > before.ms) return uuid7(now, random);
  if (before.random < MAX_RANDOM) return uuid7(before.ms, before.random + 1n);
  return uuid7(before.ms + 1, random);
}
