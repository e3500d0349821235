/** The page: signs in, connects, and joins the list, the search and the open conversation. */
import { connect, openBrowserStorage, userOf } from "./client/im-timeline.js";
import { ConversationView } from "./conversation-view.js";
import { byId, notify, paintAvatar } from "./dom.js";
import { ListView } from "./list-view.js";
import { PushSwitch } from "./push-switch.js";
import { SearchView } from "./search-view.js";
import { currentToken, signIn, signOut } from "./session.js";
import { changeLanguage, translate, word } from "./words.js";

/** SeqIds of a conversation that a new window begins with; the gateway has the earlier ones. */
const WINDOW = 200;

const DEPLOYMENT = "im-timeline:deployment";
const HEALTH_MS = 3_000;

let client = null;
let list = null;
let search = null;
let opened = null;
let push = null;

function welcome(reason = "") {
  byId("app").hidden = true;
  byId("welcome").hidden = false;
  byId("welcome-reason").textContent = reason;
  byId("welcome-reason").hidden = reason === "";
  byId("token").focus();
}

/**
 * The id of the deployment. A browser may have local copies of an earlier one at this address.
 * Without a network it is the last known one; another id, found later, loads the page again.
 */
async function deployment() {
  const last = localStorage.getItem(DEPLOYMENT);
  let found = await askDeployment();
  if (found === null && last !== null) {
    void untilFound().then((later) => later !== last && location.reload());
    return last;
  }
  found ??= await untilFound();
  localStorage.setItem(DEPLOYMENT, found);
  return found;
}

async function untilFound() {
  for (;;) {
    byId("state").textContent ||= word("connecting");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const found = await askDeployment();
    if (found === null) continue;
    localStorage.setItem(DEPLOYMENT, found);
    return found;
  }
}

/** The id; null if the gateway does not answer, or does not know it yet. */
async function askDeployment() {
  try {
    const response = await fetch("/healthz", { signal: AbortSignal.timeout(HEALTH_MS) });
    return (await response.json()).deployment || null;
  } catch {
    return null;
  }
}

/** The service worker has the files of the page, so that a reload works without a network. */
function storeFiles() {
  const { serviceWorker } = navigator;
  if (serviceWorker === undefined) return;
  const address = "/service-worker.js";
  const policy = globalThis.trustedTypes?.createPolicy("service-worker", { createScriptURL: () => address });
  serviceWorker.register(policy?.createScriptURL("") ?? address).catch(() => {}); // only comfort
}

async function begin(token) {
  byId("welcome").hidden = true;
  const options = { address: location.origin, token, window: WINDOW };
  if (isSecureContext) {
    options.storage = await openBrowserStorage(userOf(token), `im-timeline:${await deployment()}`);
  }
  client = await connect(options);
  byId("app").hidden = false;
  byId("own-name").textContent = client.user;
  paintAvatar(byId("own-avatar"), client.user);
  list = new ListView(client, open);
  search = new SearchView(client, open, async (convId) => (await list.about(convId)).title);
  client.on("state", showState);
  client.on("reset", () => client.on("settled", () => location.reload()));
  client.on("outbox", showState);
  client.on("outbox", tellRejection);
  showState();
  client.setActive(!document.hidden);
  push = await PushSwitch.begin(client.deviceId);
  const asked = new URLSearchParams(location.hash.slice(1)).get("conversation");
  if (asked !== null) {
    history.replaceState(null, "", location.pathname);
    await open(asked);
  }
}

function showState() {
  if (client === null) return; // the client that signed out closes
  const { state, unsent } = client;
  const element = byId("state");
  element.dataset.state = state;
  element.textContent = word(state) + (unsent > 0 ? ` · ${unsent}` : "");
  if (state === "refused") void leave(word("expired"));
}

async function open(convId, seq = null) {
  const terms = seq === null ? [] : search.terms;
  document.body.dataset.view = "conversation";
  if (opened?.convId === convId && seq !== null) return opened.jump(seq, terms);
  opened?.close();
  opened = new ConversationView(client, convId, (id) => list.about(id));
  list.opened = convId;
  list.draw();
  byId("nothing-open").hidden = true;
  byId("conversation").hidden = false;
  await opened.open(seq, terms);
  // On a phone, the focus would open the keyboard over the messages.
  if (matchMedia("(hover: hover)").matches) byId("text").focus({ preventScroll: true });
}

function backToList() {
  document.body.dataset.view = "list";
  const current = byId("conversations").querySelector("[aria-current]");
  (current ?? byId("conversations").querySelector("button"))?.focus();
}

async function leave(reason = "") {
  push = null;
  signOut();
  opened?.close();
  opened = null;
  byId("conversation").hidden = true;
  byId("nothing-open").hidden = false;
  document.body.dataset.view = "list";
  const leaving = client;
  client = null;
  welcome(reason);
  await leaving?.close();
}

async function create(event) {
  event.preventDefault();
  const people = byId("new-people").value.split(/[,，、;\n]/).map((each) => each.trim());
  const members = [...new Set(people.filter((each) => each !== "" && each !== client.user))];
  const name = byId("new-name").value.trim();
  byId("new-dialog").close();
  if (members.length === 0) return;
  try {
    if (members.length === 1 && name === "") return await open(await client.direct(members[0]));
    const made = await client.createConversation(members, name === "" ? {} : { name });
    await made.outcome;
    await open(made.convId);
  } catch (error) {
    // A rejected command is reported by the event of the outbox.
    if (error.code === undefined) notify(word("notNow"));
  }
}

/** Tell the person that a command was rejected. */
function tellRejection({ error, command }) {
  if (error === null || command.kind === "read") return;
  notify(word("rejected", { reason: word(error.code) }));
}

function showWords() {
  translate();
  if (client === null) return;
  showState();
  list.draw();
  push?.draw();
  opened?.draw();
}

function pressed(event) {
  const isTyping = /^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && !isTyping && client !== null) {
    event.preventDefault();
    byId("query").focus();
  } else if (event.key === "Escape" && document.activeElement?.id !== "query") {
    if (!byId("new-dialog").open && opened !== null) backToList();
  }
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = byId("token");
  if (signIn(field.value)) void begin(currentToken());
  else welcome(word("notToken"));
  field.value = "";
});
byId("sign-out").addEventListener("click", () => {
  void push?.end(); // an expired token signs out as well, and does not end notifications
  void leave();
});
byId("back").addEventListener("click", backToList);
byId("new").addEventListener("click", () => {
  byId("new-form").reset();
  byId("new-dialog").showModal();
});
byId("new-form").addEventListener("submit", (event) => void create(event));
byId("new-cancel").addEventListener("click", () => byId("new-dialog").close());
for (const button of document.querySelectorAll("button.language")) {
  button.addEventListener("click", () => {
    changeLanguage();
    showWords();
  });
}
document.addEventListener("keydown", pressed);
navigator.serviceWorker?.addEventListener("message", ({ data }) => {
  if (client !== null) void open(data.convId); // a click on a notification
});
document.addEventListener("visibilitychange", () => client?.setActive(!document.hidden));
window.addEventListener("hashchange", () => location.reload()); // the link of another person

storeFiles();
translate();
const token = currentToken();
if (token === null) welcome();
else await begin(token);
