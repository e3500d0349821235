/** Names of conversations, and the people in them, from the entries that this window has. */

/** The people in a conversation after these items, as far as the items tell. */
export function membersOf(items, user) {
  const members = new Set();
  for (const { entry } of items) {
    if (entry === null) continue;
    if (entry.kind === "conversation_created" || entry.kind === "members_added") {
      for (const member of entry.members) members.add(member);
    } else if (entry.kind === "members_removed") {
      for (const member of entry.members) members.delete(member);
    } else if (entry.kind === "message_sent") {
      members.add(entry.sender);
    }
  }
  members.delete(user);
  return [...members];
}

/** With more people, the id of the conversation is shorter than their names. */
const MOST_NAMES = 6;

/** The name of a conversation: its own, or the other people in it. */
export function titleOf(conversation, others) {
  if (conversation.name) return conversation.name;
  const areFew = others.length > 0 && others.length <= MOST_NAMES;
  return areFew ? others.join(", ") : conversation.convId;
}
