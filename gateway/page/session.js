/**
 * The sign-in of one window. A token arrives in the fragment of a link, which a browser does not send
 * to a server, or by hand. The window retains it until it is closed, also over a reload.
 */
import { userOf } from "./client/im-timeline.js";

const TOKEN = "im-timeline:token";

/** The token of this window; null if nobody has signed in. */
export function currentToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    history.replaceState(null, "", location.pathname); // not in the address bar, nor in a bookmark
    signIn(given);
  }
  const token = sessionStorage.getItem(TOKEN);
  return token !== null && isToken(token) ? token : null;
}

/** Sign in with a token; returns whether the text is one. */
export function signIn(token) {
  if (!isToken(token.trim())) return false;
  sessionStorage.setItem(TOKEN, token.trim());
  return true;
}

/** Forget the token. */
export function signOut() {
  sessionStorage.removeItem(TOKEN);
}

function isToken(text) {
  try {
    return typeof userOf(text) === "string";
  } catch {
    return false;
  }
}
