/** The errors of the client. No message quotes the text of a message. */

/** Base class of all errors of the client. */
export class ImError extends Error {
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }
}

/** The gateway does not answer now; the same request may succeed later. */
export class GatewayUnavailable extends ImError {}

/** The storage does not accept a write now; nothing of the write was stored. */
export class StorageFailure extends ImError {}

/** The client was closed. */
export class ClientClosed extends ImError {}

/** The gateway refuses a request, and a retry does not help. `kind` is the problem's type. */
export class RequestRefused extends ImError {
  constructor(status, kind, detail) {
    super(`${status} ${kind}: ${detail}`);
    this.status = status;
    this.kind = kind;
    this.detail = detail;
  }
}

/** The cursor is beyond the end of the log, which has lost records, or which is another log. */
export class CursorAhead extends RequestRefused {}

/** The sequencer rejects a command; `code` is a code of docs/conversations.md. */
export class CommandRejected extends ImError {
  constructor(code, clientMsgId) {
    super(`the command is rejected: ${code}`);
    this.code = code;
    this.clientMsgId = clientMsgId;
  }
}

/** Sync records after the cursor have expired; all records from `oldest` on are available. */
export class Trimmed extends ImError {
  constructor(cursor, oldest) {
    super("records after the cursor have expired");
    this.cursor = cursor;
    this.oldest = oldest;
  }
}
