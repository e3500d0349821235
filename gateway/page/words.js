/** The words of the page, in English and Chinese, and the texts that depend on the language. */

const WORDS = {
  en: {
    back: "Back to the conversations",
    cancel: "Cancel",
    conversations: "Conversations",
    create: "Create",
    created: "{sender} created the conversation",
    connecting: "connecting",
    described: "{sender} named the conversation “{name}”",
    edit: "Edit",
    edited: "edited",
    editing: "You edit a message",
    expired: "Your sign-in is not valid any more.",
    former: "you have left",
    hidden: "{count} entries that you may not read",
    hits: "Hits",
    joined: "{sender} added {members}",
    language: "中文",
    languageTitle: "切换到中文",
    left: "{members} left",
    messages: "Messages",
    more: "More hits",
    mute: "Mute",
    muteTitle: "No notifications on all your devices",
    newConversation: "New conversation",
    newest: "To the newest message",
    newName: "Name (optional)",
    newPeople: "People, separated by commas",
    noConversations: "No conversations yet. The button + begins one.",
    notNow: "Not possible now. Try again.",
    notToken: "This is not a token.",
    noHits: "No message has all these words.",
    nothingOpen: "Choose a conversation.",
    notificationsDenied: "The browser does not permit notifications.",
    notificationsOff: "Notifications are off",
    notificationsOn: "Notifications are on",
    offline: "offline",
    online: "online",
    owner: "{owner} is the owner now",
    people: "{count} people",
    queued: "waits for the network",
    recall: "Recall",
    recalled: "A message was recalled",
    rejected: "Not sent: {reason}.",
    search: "Search in all conversations",
    searchFailed: "The search is not available now.",
    send: "Send",
    sending: "is being sent",
    signIn: "Sign in",
    signOut: "Sign out",
    token: "Token",
    today: "Today",
    unread: "New messages",
    unreadCount: "{count} unread",
    welcome:
      "Open one of the links that “make run” prints, or paste a token: “im token alice” prints one.",
    write: "Write a message",
    yesterday: "Yesterday",
    you: "You",
    already_exists: "the conversation exists already",
    empty: "the text is empty",
    not_a_member: "you are not a member",
    not_allowed: "you may not do this",
    too_late: "the message is too old",
    too_large: "the text is too long",
    too_many_edits: "the message was edited too often",
    already_recalled: "the message was recalled",
    invalid: "a value is not valid",
    unknown_conversation: "there is no such conversation",
    already_a_member: "these people are members already",
    no_room: "there is no room for more people",
    unknown_message: "there is no such message",
    conflict: "another command has the same id",
    stale: "the command is too late",
  },
  zh: {
    back: "返回会话列表",
    cancel: "取消",
    conversations: "会话",
    create: "创建",
    created: "{sender} 创建了会话",
    connecting: "连接中",
    described: "{sender} 将会话命名为“{name}”",
    edit: "编辑",
    edited: "已编辑",
    editing: "正在编辑消息",
    expired: "登录已失效。",
    former: "你已退出",
    hidden: "{count} 条你无权查看的记录",
    hits: "搜索结果",
    joined: "{sender} 邀请了 {members}",
    language: "English",
    languageTitle: "Switch to English",
    left: "{members} 退出了会话",
    messages: "消息",
    more: "更多结果",
    mute: "静音",
    muteTitle: "你的所有设备都不再收到通知",
    newConversation: "新建会话",
    newest: "回到最新消息",
    newName: "名称（可选）",
    newPeople: "成员，用逗号分隔",
    noConversations: "还没有会话。点击 + 新建一个。",
    notNow: "暂时无法完成，请重试。",
    notToken: "这不是令牌。",
    noHits: "没有包含全部词语的消息。",
    nothingOpen: "请选择一个会话。",
    notificationsDenied: "浏览器不允许通知。",
    notificationsOff: "通知已关闭",
    notificationsOn: "通知已开启",
    offline: "离线",
    online: "在线",
    owner: "{owner} 成为群主",
    people: "{count} 人",
    queued: "等待网络",
    recall: "撤回",
    recalled: "一条消息已撤回",
    rejected: "未发送：{reason}。",
    search: "搜索全部会话",
    searchFailed: "搜索暂不可用。",
    send: "发送",
    sending: "发送中",
    signIn: "登录",
    signOut: "退出登录",
    token: "令牌",
    today: "今天",
    unread: "新消息",
    unreadCount: "{count} 条未读",
    welcome: "请打开 “make run” 打印的链接，或粘贴令牌：“im token alice” 会打印一个。",
    write: "输入消息",
    yesterday: "昨天",
    you: "你",
    already_exists: "会话已存在",
    empty: "内容为空",
    not_a_member: "你不是成员",
    not_allowed: "没有权限",
    too_late: "消息太旧",
    too_large: "内容太长",
    too_many_edits: "编辑次数过多",
    already_recalled: "消息已撤回",
    invalid: "输入无效",
    unknown_conversation: "会话不存在",
    already_a_member: "这些人已是成员",
    no_room: "人数已达上限",
    unknown_message: "消息不存在",
    conflict: "该编号已用于其他命令",
    stale: "命令已过期",
  },
};

const CHOICE = "im-timeline:language";

let language = localStorage.getItem(CHOICE) ?? (/^zh\b/.test(navigator.language) ? "zh" : "en");

/** The language with its region, as the browser has it: regions write times in different ways. */
function region() {
  return navigator.languages.find((each) => each.startsWith(language)) ?? language;
}

/** The text of a word, with its values. */
export function word(name, values = {}) {
  const text = WORDS[language][name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, value) => values[value]);
}

/** Whether the present language has a word. */
export const hasWord = (name) => Object.hasOwn(WORDS[language], name);

/** Add words of another page, by language. */
export function addWords(more) {
  for (const [name, words] of Object.entries(more)) Object.assign(WORDS[name], words);
}

/** The language with its region, for texts that depend on it. */
export const locale = () => region();

/** Change to the other language. */
export function changeLanguage() {
  language = language === "en" ? "zh" : "en";
  localStorage.setItem(CHOICE, language);
}

/** Write the words into the elements of the document that name them. */
export function translate(root = document) {
  document.documentElement.lang = language;
  for (const element of root.querySelectorAll("[data-word]")) {
    element.textContent = word(element.dataset.word);
  }
  for (const element of root.querySelectorAll("[data-placeholder]")) {
    element.placeholder = word(element.dataset.placeholder);
  }
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", word(element.dataset.label));
  }
  for (const element of root.querySelectorAll("[data-title]")) {
    element.title = word(element.dataset.title);
    element.setAttribute("aria-label", word(element.dataset.title));
  }
  for (const element of root.querySelectorAll("button.language")) {
    element.textContent = word("language");
    element.title = word("languageTitle");
  }
}

/** The time of day. */
export function timeOf(at) {
  return new Intl.DateTimeFormat(region(), { hour: "2-digit", minute: "2-digit" }).format(at);
}

/** The day, as a heading. */
export function dayOf(at) {
  const days = Math.round((midnight(Date.now()) - midnight(at)) / 86_400_000);
  if (days === 0) return word("today");
  if (days === 1) return word("yesterday");
  const options = { weekday: "short", day: "numeric", month: "long", year: "numeric" };
  return new Intl.DateTimeFormat(region(), options).format(at);
}

/** The time in a list: of today the time of day, otherwise the date. */
export function momentOf(at) {
  if (at === 0) return "";
  if (midnight(at) === midnight(Date.now())) return timeOf(at);
  return new Intl.DateTimeFormat(region(), { day: "numeric", month: "numeric" }).format(at);
}

/** Names in a list of words. */
export function listOf(names) {
  return new Intl.ListFormat(language, { type: "conjunction" }).format(names);
}

function midnight(at) {
  return new Date(at).setHours(0, 0, 0, 0);
}
