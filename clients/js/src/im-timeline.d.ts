/** A client of im-timeline for browsers and Node. docs/javascript.md describes the use. */
import type { Devices } from "./devices.js";

export type { DeviceShown, Devices, PushAddress } from "./devices.js";

/** An entry of a conversation, as docs/wire.md describes it. */
export interface Entry {
  kind: string;
  conv_id: string;
  seq: number;
  sender: string;
  client_msg_id: string;
  /** Milliseconds since 1970, by the broker's clock. */
  at: number;
  /** The number of messages up to this entry. */
  messages?: number;
  content?: { type: string; text: string };
  mentions?: string[];
  members?: string[];
  /** The SeqId of the edit whose text the message has. */
  edited?: number;
  [field: string]: unknown;
}

/** The SeqIds `first` to `last` of a conversation: one entry, or a hole with its reason. */
export interface Item {
  convId: string;
  first: number;
  last: number;
  /** `hidden`, `not_yet` or `recalled`; null for an entry. */
  hole: string | null;
  entry: Entry | null;
}

/** A conversation as this device knows it. */
export interface Conversation {
  convId: string;
  /** The name in the newest known entry that sets it; empty if there is none. */
  name: string;
  /** The last SeqId that is known to exist. */
  head: number;
  /** The first SeqId that this device has. */
  start: number;
  /** The SeqId up to which the person has read, on any device. */
  mark: number;
  /** The number of unread messages; null while it is unknown. */
  unread: number | null;
  isMember: boolean;
  /** The person has muted the conversation until this time, in milliseconds since 1970. */
  mutedUntil: number;
  /** The time of the newest known entry, in milliseconds since 1970; 0 if there is none. */
  at: number;
}

export interface Member {
  user: string;
  /** The SeqId of the last join, and its time in milliseconds since 1970. */
  seq: number;
  joined: number;
  owner: boolean;
}

export interface Outcome {
  /** The SeqId of the entry. Of a read mark: the SeqId of the mark. Of a mute: the head then. */
  seq: number;
  /** The time of the entry; null if the gateway does not know it any more. */
  at: number | null;
}

/** A command that is stored in the outbox. */
export interface Sent {
  clientMsgId: string;
  /** Fails with `CommandRejected`, or with `ClientClosed` while the command remains stored. */
  outcome: Promise<Outcome>;
}

/** A command without an outcome. */
export interface Pending {
  convId: string;
  kind: "create" | "send" | "edit" | "recall" | "read" | "mute" | "add" | "remove" | "leave" | "describe";
  path: string;
  body: Record<string, unknown>;
  at: number;
  /** `accepted`: the broker has the command. */
  state: "queued" | "sending" | "accepted";
  clientMsgId: string;
}

export type Value = unknown;
export type Key = string | number;

/** Where a client stores its state. A client holds its storage alone. */
export interface Storage {
  /** All keys and values of a group, in the order of keys. */
  read(group: string): Promise<Array<[Key, any]>>;
  /** Store values, all or none; the value null deletes. */
  write(changes: Array<[string, Key, Value | null]>): Promise<void>;
  close(): Promise<void>;
  /** The device to which the storage belongs, if the storage decides it. */
  deviceId?: string;
  /** Pass the unsent commands of storages that nobody uses to `adopt`. */
  adoptOrphans?(adopt: (commands: any[]) => Promise<void>): Promise<void>;
}

/** A storage in memory: its content ends with the process. */
export class MemoryStorage implements Storage {
  read(group: string): Promise<Array<[Key, any]>>;
  write(changes: Array<[string, Key, Value | null]>): Promise<void>;
  /** `write`, without a promise. */
  apply(changes: Array<[string, Key, Value | null]>): void;
  /** All content, as `write` takes it. */
  content(): IterableIterator<[string, Key, any]>;
  close(): Promise<void>;
}

/** The storage of a browser's window: IndexedDB. Needs a secure context. */
export function openBrowserStorage(user: string, name?: string): Promise<Storage>;

/** Delete what this browser has of a person, except the databases of open windows. */
export function deleteBrowserStorage(user: string, name?: string): Promise<void>;

export interface Options {
  /** The gateway, such as `https://chat.example`. */
  address: string;
  /** A bearer token, or a function that returns one: tokens expire. */
  token: string | (() => string | Promise<string>);
  /** By default the person whom the token names. */
  user?: string;
  /** By default the storage's, or an id that is made once and stored. */
  deviceId?: string;
  /** By default `openBrowserStorage`, or a `MemoryStorage` where that is not possible. */
  storage?: Storage;
  /** The device begins at most this number of SeqIds before the head of each conversation. */
  window?: number | null;
  /** Called with each item, in the order of SeqIds within a conversation. */
  onItem?: (item: Item) => unknown;
  fetch?: typeof fetch;
  /** By default the platform's. null: the client polls. */
  WebSocket?: any;
}

export type State = "connecting" | "online" | "offline" | "refused" | "closed";

export interface Events {
  /** An item became known; `onItem` was called before. */
  item: Item;
  /** A record of the sync timeline arrived: an entry or a reply. It may not be stored yet. */
  record: Record<string, any>;
  /**
   * The outbox changed. `error`: the command was rejected. `outcome`: the command was accepted; its
   * entry may not have arrived yet.
   */
  outbox: { convId: string; error: Error | null; command: any; outcome: Outcome | null };
  state: State;
  /** The log has lost records: discard all items, because the client passes them again. */
  reset: null;
  /** The device has applied what it received. */
  settled: null;
  /** The client stops, such as with `RequestRefused` because the token is not accepted. */
  error: Error;
}

export interface HistoryQuery {
  from?: number;
  to?: number;
  order?: "asc" | "desc";
  limit?: number;
}

export interface SearchQuery {
  conversation?: string;
  sender?: string;
  limit?: number;
  cursor?: string;
}

/** One device of a person. */
export class Client extends EventTarget {
  private constructor();
  readonly user: string;
  readonly deviceId: string;
  readonly state: State;
  /** The number of commands without an outcome. */
  readonly unsent: number;
  /** The devices of the person, and the push address of this one. */
  readonly devices: Devices;
  /** Retry now, for example because the network has returned. */
  nudge: () => void;
  start(): Promise<void>;
  /** Whether the person looks at this device; a person without an active device gets notifications. */
  setActive(isActive: boolean): void;
  /** Stop. Commands without an outcome remain in the storage. */
  close(): Promise<void>;
  on<T extends keyof Events>(
    type: T,
    listener: (detail: Events[T]) => unknown,
    options?: { signal?: AbortSignal },
  ): void;

  /** All known conversations, the most recent one first. */
  conversations(): Conversation[];
  /** The number of unread messages; null while it is unknown. */
  unread(convId: string): number | null;
  /** Items above a SeqId that this device has, up to the first missing one. */
  timeline(convId: string, range?: { after?: number; limit?: number }): Promise<Item[]>;
  /**
   * Items below a SeqId, in order: from this device, or else from the gateway. null: the last items
   * that this device has.
   */
  before(convId: string, seq: number | null, options?: { limit?: number }): Promise<Item[]>;
  /** A page of history from the gateway. */
  history(
    convId: string,
    query?: HistoryQuery,
  ): Promise<{ head: number; items: Item[]; next: number | null }>;
  /** A page of messages that match a query, newest first. */
  search(
    q: string,
    query?: SearchQuery,
  ): Promise<{ hits: Entry[]; next: string | null; cut: boolean }>;
  /** Any other request to the gateway; the body of the answer. */
  request(method: string, path: string, parts?: { query?: object; body?: unknown }): Promise<any>;

  /** Commands of a conversation without an outcome, in order. */
  pending(convId: string): Pending[];
  createConversation(
    members: string[],
    settings?: { convId?: string; [setting: string]: unknown },
  ): Promise<Sent & { convId: string }>;
  /** Get or create the one chat with another person; resolves with its id. Needs the network. */
  direct(user: string): Promise<string>;
  /** Up to 200 present members, by id, from the gateway. */
  members(convId: string): Promise<Member[]>;
  send(convId: string, text: string, options?: { mentions?: string[] }): Promise<Sent>;
  edit(
    convId: string,
    seq: number,
    text: string,
    options?: { mentions?: string[] },
  ): Promise<Sent>;
  recall(convId: string, seq: number): Promise<Sent>;
  markRead(convId: string, seq: number): Promise<Sent>;
  /**
   * Mute a conversation on all devices of the person, until a time in milliseconds since 1970; null:
   * without an end. 0 ends a mute.
   */
  mute(convId: string, until?: number | null): Promise<Sent>;
  describe(convId: string, settings: { name?: string; metadata?: string }): Promise<Sent>;
  addMembers(convId: string, members: string[]): Promise<Sent>;
  removeMember(convId: string, user: string): Promise<Sent>;
  leave(convId: string): Promise<Sent>;
}

/** Connect a person's device. Resolves when the local state is open; the network may be away. */
export function connect(options: Options): Promise<Client>;

/** The person whom a token names. The gateway checks the token, not this function. */
export function userOf(token: string): string;

/** Base class of all errors of the client. */
export class ImError extends Error {}

/** The gateway does not answer now; the same request may succeed later. */
export class GatewayUnavailable extends ImError {}

/** The storage does not accept a write now; nothing of the write was stored. */
export class StorageFailure extends ImError {}

/** The client was closed. */
export class ClientClosed extends ImError {}

/** The gateway refuses a request, and a retry does not help. */
export class RequestRefused extends ImError {
  constructor(status: number, kind: string, detail: string);
  status: number;
  /** The last part of the problem's type, such as `unauthorized`. */
  kind: string;
  detail: string;
}

/** The cursor is beyond the end of the log, which has lost records. The client begins again. */
export class CursorAhead extends RequestRefused {}

/** The sequencer rejects a command, with a code of docs/conversations.md. */
export class CommandRejected extends ImError {
  constructor(code: string, clientMsgId: string);
  code: string;
  clientMsgId: string;
}

/** Sync records after the cursor have expired. */
export class Trimmed extends ImError {
  constructor(cursor: bigint, oldest: bigint);
  cursor: bigint;
  oldest: bigint;
}
