import type { Key, Storage, Value } from "./im-timeline.js";

/** A storage in a file, for Node. */
export class FileStorage implements Storage {
  read(group: string): Promise<Array<[Key, any]>>;
  write(changes: Array<[string, Key, Value | null]>): Promise<void>;
  close(): Promise<void>;
}

/** Open the file of one client; create it if it is missing. One process at a time. */
export function openFileStorage(path: string): Promise<FileStorage>;
