/**
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
  "/page/client/device.js",
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
  "/page/names.js",
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
