"""Thoughts in tags: what a reasoning model writes between `<think>` and `</think>` is not its answer.

The tags are those of `NAMES` in angle brackets, in either case, also with white space or attributes (`<think >`) or
escaped (`&lt;think&gt;`), and `[THINK]`, Mistral's. In OpenAI's Harmony every channel but `final` is a thought, which
lasts until the final channel begins. Nothing within them is read:

- a thought that is not closed goes to the end of the reply, so that a reply that was cut off there has no answer;
- before a closing tag without an opening one all is thought: some templates open it in the prompt;
- thoughts may hold thoughts of the same tag; other tags within are text;
- a thought that begins in the middle of a line leaves its opening tag there. A command that holds one is malformed
  (`prompts.bare`): whether `search[<plan> notebook]` names a product or breaks off is not to be known.
"""

from __future__ import annotations

import re

NAMES = ("think", "thinking", "thought", "reasoning", "reflection", "analysis", "scratchpad", "plan")
"""Names of tags: DeepSeek-R1, Qwen3 and verl-agent write `think`, the others are asked for by prompts."""

_NAMED = rf"(?i:(?:<|&lt;)\s*(?:(?P<slash>/)\s*)?(?P<name>{'|'.join(NAMES)})(?:\s[^<>&]*)?(?<!/)(?:>|&gt;))"
"""`<think/>` holds nothing."""
_HARMONY = r"(?P<channel><\|channel\|>)\s*(?:(?P<final>final)(?:[^<]*<\|message\|>)?)?"
_TAG = re.compile(rf"{_NAMED}|{_HARMONY}|(?:(?<!\w)\[|\[(?P<slash2>/))THINK\]")
"""`search[THINK]` is a command."""
_LEFT_OPEN = re.compile(rf"(?:<(?P<name>{'|'.join(NAMES)})>|\[THINK\])\s*\Z")


def spoken(reply: str) -> str:
    """The reply without its thoughts; where one stood a line ends, behind its opening tag if the line had begun."""
    parts: list[str] = []
    start, within, depth = 0, "", 0
    for tag in _TAG.finditer(reply):
        name = (tag["name"] or tag["channel"] or "[THINK]").lower()
        closes = bool(tag["slash"] or tag["slash2"] or tag["final"])
        if not within:
            if closes:
                parts.clear()
            else:
                said = reply[start : tag.start()]
                begun = said.rpartition("\n")[2].strip()
                parts.append(said + " ".join(tag[0].split()) if begun else said)
            start, within, depth = tag.end(), "" if closes else name, 1
        elif name == within:
            depth += -1 if closes else not tag["channel"]  # several messages of Harmony, one end
            if not depth:
                start, within = tag.end(), ""
    return "\n".join(parts if within else [*parts, reply[start:]])


def has_tag(text: str) -> bool:
    """Whether a tag of a thought stands in the text."""
    return _TAG.search(text) is not None


def untagged(text: str) -> str:
    """The text without tags of thoughts, to be put between such tags."""
    return _TAG.sub(" ", text)


def left_open(prompt: str) -> tuple[str, str]:
    """The tag of a thought that the end of a prompt opens, with the white space behind it, and the tag that closes it.

    Both are empty where it opens none.
    """
    found = _LEFT_OPEN.search(prompt)
    if found is None:
        return "", ""
    return found[0], f"</{found['name']}>" if found["name"] else "[/THINK]"
