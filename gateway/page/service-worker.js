/**
 * Shows notifications, which arrive by Web Push also while no window is open.
 *
 * Serves the files of the page while there is no network, so that a reload shows the conversations.
 * It has files only: no answer of the gateway, and nothing of any person.
 */
const CACHE = "im-timeline:page";

/** All files of the page. A test compares the list with the files that the page loads. */
const FILES = [
  "/",
  "/page/app.js",
  "/page/base.css",
  "/page/client/browser-storage.js",
  "/page/client/conversation-list.js",
  "/page/client/device.js",
  "/page/client/devices.js",
  "/page/client/errors.js",
  "/page/client/http.js",
  "/page/client/identity.js",
  "/page/client/ids.js",
  "/page/client/im-timeline.js",
  "/page/client/knowledge.js",
  "/page/client/live-link.js",
  "/page/client/live-source.js",
  "/page/client/local-change.js",
  "/page/client/local-conversation.js",
  "/page/client/local-store.js",
  "/page/client/outbox.js",
  "/page/client/spans.js",
  "/page/client/storage.js",
  "/page/client/timelines.js",
  "/page/client/unread.js",
  "/page/conversation-view.js",
  "/page/dom.js",
  "/page/highlight.js",
  "/page/icon.svg",
  "/page/list-view.js",
  "/page/message-rows.js",
  "/page/mute-switch.js",
  "/page/names.js",
  "/page/push-switch.js",
  "/page/search-view.js",
  "/page/session.js",
  "/page/style.css",
  "/page/words.js",
];

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  const isFile = origin === self.location.origin && FILES.includes(pathname);
  if (isFile && request.method === "GET") event.respondWith(fromNetworkOrCache(event, pathname));
});

const TITLE = "im-timeline";

self.addEventListener("push", (event) => event.waitUntil(show(event.data)));

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(openConversation(event.notification.data));
});

/** One notification for each conversation; none remains for a conversation without unread messages. */
async function show(data) {
  const pushed = read(data);
  if (pushed === null) return;
  const { conv_id: convId, seq, unread, sender = TITLE, text } = pushed;
  if (unread > 0) {
    await self.registration.showNotification(sender, {
      body: text ?? unreadText(unread),
      tag: convId,
      renotify: true,
      icon: "/page/icon.svg",
      data: { convId, seq },
    });
    return;
  }
  const shown = await self.registration.getNotifications({ tag: convId });
  shown.forEach((notification) => notification.close());
}

/** The fields of a message; null if it is not of this deployment's version. */
function read(data) {
  try {
    const pushed = data.json();
    return typeof pushed.conv_id === "string" ? pushed : null;
  } catch {
    return null;
  }
}

function unreadText(count) {
  if (self.navigator.language.startsWith("zh")) return `${count} 条未读消息`;
  return count === 1 ? "1 unread message" : `${count} unread messages`;
}

/** Open the conversation in a window of the page, or in a new one, which asks for the sign-in. */
async function openConversation({ convId, seq }) {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const window = windows.find(({ url }) => new URL(url).pathname === "/");
  if (window === undefined) {
    await self.clients.openWindow(`/#conversation=${encodeURIComponent(convId)}`);
    return;
  }
  window.postMessage({ convId, seq });
  await window.focus();
}

/** The file from the network, which is always the present one; without a network, the last one. */
async function fromNetworkOrCache(event, pathname) {
  try {
    const response = await fetch(event.request);
    if (response.ok) event.waitUntil(store(pathname, response.clone()));
    return response;
  } catch (error) {
    const cached = await (await caches.open(CACHE)).match(pathname);
    if (cached === undefined) throw error;
    return cached;
  }
}

async function store(pathname, response) {
  const cache = await caches.open(CACHE);
  await cache.put(pathname, response);
}
