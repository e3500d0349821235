/** Small functions for the document. Texts of people enter it as text nodes only. */

/** The element with an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** An element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("aria-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((each) => each !== null));
  return element;
}

/**
 * Make the children of an element equal to rows `{key, state, make}`. An existing child with the
 * same key and state remains, so it retains its focus and its place on the screen.
 */
export function reconcile(parent, rows) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const { key, state, make: makeRow } of rows) {
    let child = before.get(key);
    before.delete(key);
    if (child === undefined || child.dataset.state !== state) {
      const made = makeRow();
      Object.assign(made.dataset, { key, state });
      if (child !== undefined) {
        if (next === child) next = child.nextElementSibling;
        child.replaceWith(made);
      }
      child = made;
    }
    if (child === next) next = child.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const child of before.values()) child.remove();
}

/** Show the initial of a name, in a colour that depends on the name. */
export function paintAvatar(element, name) {
  const [initial = "?"] = name;
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 8191;
  element.textContent = initial.toUpperCase();
  element.className = `avatar tone-${sum % 8}`;
}

/** An avatar. */
export function avatarOf(name) {
  const element = make("span", { "aria-hidden": "true" });
  paintAvatar(element, name);
  return element;
}

let noticeTimer;

/** Show a short message for some seconds. */
export function notify(text) {
  const notice = byId("notice");
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => {
    notice.hidden = true;
  }, 6_000);
}

/** A function that runs `work` once in the next frame, however often it is called before. */
export function onceAFrame(work) {
  let isPlanned = false;
  return () => {
    if (isPlanned) return;
    isPlanned = true;
    // A hidden window has no frames, but its title shows the unread messages.
    const plan = document.hidden ? setTimeout : requestAnimationFrame;
    plan(() => {
      isPlanned = false;
      void work();
    });
  };
}
