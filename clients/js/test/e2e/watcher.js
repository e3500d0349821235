/**
 * A device as a process, which a test kills: it writes a line of JSON for each item that it shows.
 * Arguments: the person, the file of the state, the file of the items, and options as JSON.
 */
import { appendFileSync } from "node:fs";

import { openFileStorage } from "../../src/file-storage.js";
import { connect } from "../../src/im-timeline.js";
import { tokenOf } from "./support.js";

const [user, state, shown, options] = process.argv.slice(2);
const client = await connect({
  address: process.env.IM_TEST_GATEWAY,
  token: () => tokenOf(user),
  storage: await openFileStorage(state),
  onItem: (item) => appendFileSync(shown, `${JSON.stringify(item)}\n`),
  ...JSON.parse(options),
});
client.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
