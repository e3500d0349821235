"""Messages and queries: whether a search finds the message. For the pure rule and the server."""

# ruff: noqa: E501, RUF001 - a case is a line, and is about characters that look alike

from __future__ import annotations

from typing import Final, NamedTuple

FAMILY: Final = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
ENGLAND: Final = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


class Case(NamedTuple):
    """A message, the queries that find the message, and queries that do not."""

    text: str
    finds: list[str]
    misses: list[str]


PUNCTUATION: Final = [
    Case("Email：bob@example.com", ["bob@example.com", "bob", "email", "example.com", "EMAIL："], ["ob", "bob.example"]),
    Case("wifi：guest", ["guest", "wifi:guest"], ["wifiguest"]),
    Case("OK.See you", ["see you", '"see you"', "OK.See"], ["oksee"]),
    Case("Vue.js and node.js", ["vue", "Vue.js", ".js", "node.js"], ["vuejs", "vue.ts", '"vue js"']),
    Case("report.final.v2.pdf", ["report", "final.v2", ".pdf", "v2.pdf"], ["report.v2", "v"]),
    Case("Bob's L'école", ["Bob", "bob’s", "école", "L’école"], ["bobs", "ecole"]),
    Case("选项1，2，3", ["2", "1,2", "选项1", "1，2，3"], ["12", "项2"]),
    Case("2024.05.01 12:30", ["2024", "2024.05", "05.01", "12:30", "30"], ["20240501", "1230", "24"]),
    Case("self.sess.opts snake_case a_b", ["opts", "self.sess", "snake", "snake_case", "_", "b"], ["snakecase", "sessopts"]),
    Case("link:https://example.net/a?x=1&y=2#z", ["https://example.net/a", "example.net", "link", "x=1", "#z"], ["example.com", "x=2"]),
    Case("this is plan C", ["plan C"], ["C++", "C#", ".C"]),
    Case("C++ and C# on .NET", ["C++", "C#", ".NET", "c", "net", "+"], ["C+#", "C+++", "net."]),
    Case("→ ✓ ^_^ ¯\\_(ツ)_/¯", ["✓", "→", "^_^", "ツ", "¯", "¯\\_(ツ)_/¯"], ["✗", "→✓", "^^"]),
    Case("#release @bob $5 €9,99 50% +49-30/123", ["#release", "@bob", "$5", "€9,99", "50%", "+49-30", "bob"], ["@release", "€5", "999"]),
    Case("pages 10–20 — see…", ["10-20", "10–20", "10−20", "—", "...", "…", "see"], ["1020", "10..20"]),
    Case("call +1 (555) 123‑4567", ["123-4567", "(555)", "555"], ["5551234567"]),
    Case('a 5" disk and 6″ more', ['5"', "5”", '6"', "disk"], ['7"']),
]  # fmt: skip

QUOTES: Final = [
    Case("don’t", ["don't", "don’t", "don`t", "don´t", "donʼt", "don＇t", "don", "t"], ["dont", '"don t"']),
    Case("don't", ["don’t", "don‘t", "don′t"], ["dont"]),
    Case("上线计划要改，项目先不动", ["项目 上线"], ["“项目 上线”", "「项目 上线」", "『上线 项目』", "«项目 上线»", "„项目 上线“", "＂项目 上线＂"]),
    Case("项目 上线", ["“项目 上线”", "「项目 上线」", '"项目 上线"', "目 上"], ["项目上线", "目上"]),
    Case("他说“你好”和「再见」", ["“你好”", '"你好"', "说“你好", "再见」"], ["说你好", "「你好」吗"]),
    Case("צה״ל and ג׳ירפה", ['צה"ל', "צה״ל", "ג'ירפה"], ["צהל"]),
]  # fmt: skip

UNSEEN: Final = [
    Case("call \u202a13912345678\u202c", ["13912345678", "\u202d13912345678\u202c"], ["1391234567"]),
    Case("call 13912345678", ["\u206813912345678\u2069", "\u200e13912345678"], ["\u200e139"]),
    Case("明天\u200e开\u200d会", ["明天", "开会", "明天开会", "天\u200b开"], ["会明"]),
    Case("infor\u00admation zero\u200bwidth\ufeff word\u2060joiner", ["information", "zerowidth", "wordjoiner", "infor\u00admation"], ["infor", "zero"]),
    Case("شكراً \u200fمرحبا\u200e محـــمد", ["مرحبا", "محمد", "\u2067مرحبا\u2069"], ["مرح"]),
    Case("می\u200cخواهم", ["می‌خواهم", "میخواهم"], ["می"]),
    Case("葛\U000e0100城 逢\ufe00", ["葛城", "葛", "逢"], ["城葛"]),
    Case("tag\U000e0061ged \U000e0001text", ["tagged", "text"], ["tag"]),
    Case("no\u00a0break thin\u2009space tab\there\nline", ["no", "break", '"no break"', '"space tab here line"'], ["nobreak", "linehere"]),
    Case("nul\x00l \x1bescape", ["null", "escape"], ["nul"]),
]  # fmt: skip

SCRIPTS: Final = [
    Case("我在上海。东边下雨", ["上海", "海。东", "东边"], ["海东", '"上海 东"']),
    Case("上海 东边", ["海 东", '"海 东"'], ["海东", "上海东边"]),
    Case("西安𰻞𰻞面好吃", ["𰻞", "𰻞𰻞面", "西安"], ["𰻞西"]),
    Case("𠮷野家 \U00030000\U00031350\U0002ebf0\U0002b740字", ["𠮷", "野家", "\U00031350", "\U00030000\U00031350", "\U0002ebf0"], ["𠮷家", "\U00031351"]),
    Case("豈更\uf900 兀嗀", ["豈", "\uf900", "\ufa0c", "\ufa0d"], ["車"]),
    Case("時々〇ゝ カタカナｶﾀｶﾅ ﾊﾟｰﾃｨｰ", ["時々", "々", "時", "パーティー", "ﾊﾟ", "カタ", "ー", "タカ", "〇"], ["ハー", "かた"]),
    Case("ひらがなが", ["がな", "ひらか\u3099な", "か\u3099"], ["かな"]),
    Case("안녕하세요 세계", ["안녕하세요", "\u110b\u1161\u11ab\u1102\u1167\u11bc하세요", "세계"], ["안녕", "세"]),
    Case("\u1109\u1166\u1100\u1168 ㅋㅋㅋ", ["세계", "ㅋㅋㅋ"], ["세", "ㅋ"]),
    Case("น้ำแข็งอร่อย", ["น้ำ", "แข็ง", "อร่อย", "น้ำแข็ง"], ["นำ", "า", "แขง"]),
    Case("ພາສາລາວ ភាសាខ្មែរ မြန်မာ", ["ພາສາ", "ລາວ", "ភាសា", "မြန်"], ["ລາສາ"]),
    Case("हिन्दी में लिखो", ["हिन्दी", "में"], ["हिन्द"]),
    Case("İzmir çok güzel", ["İzmir", "izmir", "IZMIR", "ızmır", "ÇOK"], ["zmir", "cok"]),
    Case("IŞIK ışık DIYARBAKIR", ["ışık", "IŞIK", "diyarbakır", "Diyarbakir"], ["isik"]),
    Case("die Straße, STRASSE", ["strasse", "straße", "STRAẞE"], ["strase"]),
    Case("ΟΔΥΣΣΕΎΣ Ὀδυσσεύς", ["οδυσσεύς", "οδυσσεύσ", "ὀδυσσεύς"], ["οδυσσευς"]),
    Case("Cafe\u0301 naïve", ["café", "CAFÉ", "nai\u0308ve"], ["cafe", "naive"]),
    Case("Привет, мир! Ёлка", ["привет", "МИР", "мир!", "ёлка"], ["елка", "при"]),
    Case("שָׁלוֹם", ["שָׁלוֹם"], ["שלום"]),
    Case("mixed中文text python3", ["mixed", "中文", "text", "中文text", "python3"], ["tex", "中text", "python"]),
]  # fmt: skip

FORMS: Final = [
    Case("ＨＥＬＬＯ　１２３", ["hello", "123", "ＨＥＬＬＯ"], ["hell"]),
    Case("ﬁnal oﬃce ǆ ĳ", ["final", "office", "ij"], ["nal"]),
    Case("H₂O and x² on 10²", ["H2O", "H₂O", "x2", "x²", "x", "10²", "10"], ["102", "ho"]),
    Case("Windows™ footnote¹ №5", ["Windows", "windows™", "footnote", "footnote¹", "№5", "5"], ["footnotes", '"footnote 1"']),
    Case("第Ⅷ章 ⅳ", ["viii", "Ⅷ", "第Ⅷ", "IV"], ["v"]),
    Case("①② 步骤③打开 ½ 3½", ["①", "②", "步骤3打开", "1/2", "½", "3½"], ["12", "31"]),
    Case("𝐇𝐞𝐥𝐥𝐨 𝟙𝟚 ⓗⓘ 🅷🄸", ["hello", "12", "hi"], ["hell", "1"]),
    Case("㍿ ㎏ ㌔ ℃ ﷺ", ["株式会社", "kg", "キロ", "℃", "°c"], ["株会"]),
]  # fmt: skip

EMOJI: Final = [
    Case("❤️ ok", ["❤", "❤️", "❤︎"], ["💙"]),
    Case("❤ ok", ["❤️"], ["♡"]),
    Case(f"{FAMILY}👍🏽🇩🇪🇫🇷", [FAMILY, "👍🏽", "🇩🇪", "🇫🇷", "👍🏽🇩🇪", "👍"], ["👨", "👩", "👍🏻", "🏽", "👍🇩🇪", "🇪🇫", "🇩"]),
    Case("👩🏽‍💻 👋🏿hi 🏽", ["👩🏽‍💻", "👩‍💻", "👋", "👋🏿", "👋🏿hi", "🏽"], ["👩", "💻", "👩🏿‍💻", "👋🏽", "👩🏽"]),
    Case("🧑🏻‍🤝‍🧑🏿", ["🧑🏻‍🤝‍🧑🏿", "🧑‍🤝‍🧑"], ["🧑🏿‍🤝‍🧑🏻", "🧑🏻‍🤝‍🧑", "🤝"]),
    Case("👍 😀😀lol", ["👍", "😀", "😀😀", "lol", "😀lol"], ["👍🏽", "😀😀😀", "👍😀"]),
    Case(f"{ENGLAND} 🏴 🏃🏽‍♀️", [ENGLAND, "🏴", "🏃🏽‍♀"], ["🏃", "♀"]),
    Case(ENGLAND, [ENGLAND], ["🏴"]),
    Case("1️⃣2️⃣ #️⃣", ["1️⃣", "1⃣", "1️⃣2️⃣", "#️⃣"], ["12", "3️⃣"]),
    Case("❤️‍🔥🧑‍💻", ["❤‍🔥", "❤️‍🔥", "🧑‍💻"], ["🔥", "💻", "❤"]),
]  # fmt: skip

CASES: Final = [*PUNCTUATION, *QUOTES, *UNSEEN, *SCRIPTS, *FORMS, *EMOJI]
