"""Reply formats: what is rendered is read back, and no text, however hostile, does more than fail to parse."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import HOSTILE

from spa_bench import registry
from spa_bench.agents.prompts import PROMPTS, bare, unwrapped
from spa_bench.agents.thoughts import NAMES, spoken
from spa_bench.core import Conversation, Message, ReplyFormat, UserError

FORMATS = pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
LABELLED = pytest.mark.parametrize("prompt", [PROMPTS["action"], PROMPTS["react"]], ids=["action", "react"])
"""Those whose action stands behind `Action:`."""

COMMANDS = st.text(alphabet=st.characters(exclude_characters="\n"), max_size=40).filter(
    lambda text: text == bare(text) == spoken(text) == unwrapped(text) and "```" not in text
)
"""One line without anything that a reader takes off."""


@FORMATS
@given(action=COMMANDS, thought=HOSTILE)
@example(action="go to desk 1", thought="")
@example(action="search[levi's 'slim' jeans]", thought="I should say\nAction: buy now\nbut I will not")
@example(action='say "hello"', thought="")
@example(action="look", thought="Action: look")
@example(action="'", thought="")
@example(action="look", thought="say </think> or <think>, ``` and <action>go</action>")
def test_a_rendered_command_is_read_back(prompt, action, thought):
    assert prompt.parse(prompt.render(action, thought)) == action


@FORMATS
@given(reply=HOSTILE | st.text(alphabet="Action: \n\r\t`\"'*<>/\x00\ud800\u200b\uff1a", max_size=60))
def test_any_text_parses_to_one_stripped_line_and_reading_it_again_changes_nothing(prompt, reply):
    action = prompt.parse(reply)
    assert "\n" not in action
    assert action == action.strip() == bare(action)
    assert prompt.parse(prompt.render(action)) == action or "```" in action
    assert action == "" or "action" in reply.lower() or "```" in reply


@FORMATS
@given(
    start=COMMANDS,
    rest=COMMANDS,
    piece=st.sampled_from(["</s>", "<|im_end|>", "<eos>", "[THINK]", *(f"<{name}>" for name in NAMES)]),
)
def test_a_tag_or_an_end_within_a_command_never_makes_another_command_of_it(prompt, start, rest, piece):
    action = f"a{start}{piece}{rest}z"
    assert prompt.parse(prompt.render(action)) in ("", action)


PIECES = ["Action:", "Action: look", "go to desk 1", "\n", " ", "**", "`", "```", "Thought: so", "Observation: a lamp"]
PIECES += ["<action>", "</action>", "- ", "> ", "1", "\uff1a", "\u200b", ".", "<|im_end|>"]


@FORMATS
@given(
    before=st.lists(st.sampled_from(PIECES)).map("".join),
    thought=st.lists(st.sampled_from(PIECES)).map("".join),
    after=st.lists(st.sampled_from(PIECES)).map("".join),
    name=st.sampled_from(NAMES),
)
def test_what_stands_within_a_thought_changes_nothing(prompt, before, thought, after, name):
    alone = prompt.parse(f"{before}\n\n{after}")
    assert prompt.parse(f"{before}\n<{name}>{thought}</{name}>{after}") == alone
    # Within a line, which may be that of the command, it may make the command malformed, but never another one.
    assert prompt.parse(f"{before}<{name}>{thought}</{name}>{after}") in ("", prompt.parse(f"{before}\n{after}"))
    assert prompt.parse(f"{thought}</{name}>{after}") == prompt.parse(after)
    assert prompt.parse(f"<{name}>{thought}") == ""


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("look", "look"),
        ("a\n<think>b</think>c", "a\n\nc"),
        ("\n <think>b</think> <plan>c</plan>d", "\n \n \nd"),
        ("a<think>b</think>c", "a<think>\nc"),
        ("a<think>b<think>c</think>d</think>e", "a<think>\ne"),
        ("a<THINK>b</Think>c", "a<THINK>\nc"),
        ("a<think>b</thinking>c", "a<think>"),
        ("a<think>b<plan>c</think>d", "a<think>\nd"),
        ("a</think>b", "b"),
        ("a<think>b</think>c</think>d", "d"),
        ("search[<thinker> x]", "search[<thinker> x]"),
        # white space, attributes, escapes
        ("<think >a</think >b", "\nb"),
        ("< think\n>a</ think>b< /think>c", "c"),
        ('<think budget="9" x>a</think>b', "\nb"),
        ("&lt;think&gt;a&lt;/think&gt;b", "\nb"),
        ("&lt;think&gt;a</think>b", "\nb"),
        ("a<plan\n x>b", "a<plan x>"),
        ("a<think/>b<think />c", "a<think/>b<think />c"),
        ("a <think b", "a <think b"),
        # Harmony
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b", "\nb"),
        ("<|channel|>analysis<|message|>a<|channel|>commentary to=x<|message|>b<|channel|>final<|message|>c", "\nc"),
        ("<|channel|>analysis<|message|>a<|end|>b", ""),
        ("<|channel|>final <|constrain|>x<|message|>a", " <|constrain|>x<|message|>a"),
        ("<|channel|>finala", "a"),
        ("a<|channel|> final x<|message|>b", "b"),
        ("<think><|channel|>final<|message|>a</think>b", "\nb"),
        ("[THINK]a[/THINK]b", "\nb"),
        ("[think]a", "[think]a"),
        ("search[THINK]", "search[THINK]"),
        ("a <thinker> b", "a <thinker> b"),
    ],
)
def test_thoughts_by_hand(reply, rest):
    assert spoken(reply) == rest


@LABELLED
@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("Action: go to desk 1", "go to desk 1"),
        ("Action:go to desk 1", "go to desk 1"),
        ("  Action:   go to desk 1  \r\n", "go to desk 1"),
        ("Thought: I need a desk.\nAction: go to desk 1", "go to desk 1"),
        ("Thought: I need a desk.\r\nAction: go to desk 1\r\n", "go to desk 1"),
        ("Thought: maybe Action: look helps\nAction: go to desk 1", "go to desk 1"),
        ("Action: go to desk 1\nObservation: a lamp\nAction: take lamp", "go to desk 1"),
        ("Action: `go to desk 1`", "go to desk 1"),
        ("Action: \"'go to desk 1'\"", "go to desk 1"),
        ("Action: \u201cgo to desk 1\u201d", "go to desk 1"),
        ('Action: "go to desk 1', '"go to desk 1'),
        ("Action: search[\x00\ud800]", "search[\x00\ud800]"),
        ("Action: a\u2028b", "a\u2028b"),
        # the label
        ("thought: so\naction: look", "look"),
        ("ACTION: look", "look"),
        ("**Thought:** so\n**Action:** look", "look"),
        ("**Action**: look", "look"),
        ("**Action: look**", "look"),
        ("Action: **look**", "look"),
        ("Action\uff1a look", "look"),
        ("Action : look", "look"),
        ("Action 12: look", "look"),
        ("\u00a0Action: look", "look"),
        ("\ufeffAction: look", "look"),
        ("- Action: look", ""),
        ("1. Action: look", ""),
        ("> Action: look", ""),
        ("Thought: so. Action: look", ""),
        ("<action>look</action>", ""),
        ("Reaction: look", ""),
        ("Actions: look", ""),
        ("Action x: look", ""),
        ("go to desk 1", ""),
        ("", ""),
        # the command is left as it is
        ("Action: look.", "look."),
        ("Action: click[Buy Now].", "click[Buy Now]."),
        ("Action: click [Buy Now]", "click [Buy Now]"),
        ("Action: Go to  Desk 1", "Go to  Desk 1"),
        ("Action: look\u200b", "look"),
        ("Action: look<|im_end|>\n<|im_start|>user", "look"),
        ("Action: look<end_of_turn>", "look"),
        ("Action: look</s>", "look"),
        ('Action: "look</s>" <|im_end|> </s>', "look"),
        ("Action:\nlook<|im_end|>\n<|im_start|>user", "look"),
        # what was meant is not to be known
        ("Action: search[</s> dvd]", ""),
        ("Action: </s>look", ""),
        ("Action: look<|im_end|> go", ""),
        ("Action: search[<plan> notebook]", ""),
        ("Action: search[book <thought> x]", ""),
        ("Action: search[a</plan> b]", ""),
        ("Action: look <think>hm</think>", ""),
        ("Action: look <think>\nAction: go\n</think>", ""),
        ("Action: <think>hm</think>look", ""),
        ("Action:\nlook <think>hm</think>", ""),
        ("I see <think>Action: go\n</think>\nAction: look", "look"),
        # quotes
        ('Action: "a" and "b"', '"a" and "b"'),
        ("Action: *look* and *go*", "*look* and *go*"),
        ("Action: 'levi's jeans'", "'levi's jeans'"),
        ("Action: \u201ca\u201d and \u201cb\u201d", "\u201ca\u201d and \u201cb\u201d"),
        ("Action: ***look***", "look"),
        ("Action: ***look**", "***look**"),
        ("Action: " + "'" * 3, "'" * 3),
        ("Action: " + "'" * 4, ""),
        ('Action: **"`look`"**', "look"),
        # two styles at once
        ("Action: <action>look</action>", "look"),
        ("Action: `<Action> look </action>`", "look"),
        ("Action: Action: look", "look"),
        ("Action: **Action:** look", "look"),
        ("Action:\n```\nAction: look\n```", "look"),
        ("Action: Action: Action: look", ""),
        ("Action: Action: <action>look</action>", ""),
        ("Action: <action>Action: look</action>", ""),
        ("Action: <action>look</action> because", ""),
        ("Action: <action>look", ""),
        ("Action: look</action>", ""),
        ("Action: <action>look</action><action>go</action>", ""),
        ("Action: Action:", ""),
        # nothing behind the label
        ("Action:", ""),
        ("Action: ``", ""),
        ("Action:\ngo to desk 1", "go to desk 1"),
        ("Action:\n\n  `go to desk 1`\n", "go to desk 1"),
        ("Action:\ngo to desk 1\nand look", ""),
        ("Action:\nObservation: a lamp", ""),
        ("Action:\nAction: look", ""),
        ("Action:\n```\ngo to desk 1\n```", "go to desk 1"),
        ("Action:\n```text\ngo to desk 1\n```\n", "go to desk 1"),
        ("Action: ```\ngo to desk 1\n```", "go to desk 1"),
        ("Action: ```go to desk 1```", "go to desk 1"),
        ("Action:\n```\ngo to desk 1\nlook\n```", ""),
        ("Action:\n```\ngo to desk 1\n```\nThen I look.", ""),
        ("Action:\n```\ngo to desk 1", ""),
        # thoughts
        ("<think>\nAction: look\nNo.\n</think>\nThought: so\nAction: go to desk 1", "go to desk 1"),
        ("<think>hm</think>Action: go to desk 1", "go to desk 1"),
        ("hm\nAction: look\n</think>\n\nAction: go to desk 1", "go to desk 1"),
        ("<think>\nAction: look\n", ""),
        ("<reasoning>\nAction: look\n</think>", ""),
        ("Action: go to desk 1\n<think>and then", "go to desk 1"),
        ("<think >\nAction: go\n</think >\nAction: look", "look"),
        ("&lt;think&gt;\nAction: go\n&lt;/think&gt;\nAction: look", "look"),
        ("<think\n>\nAction: go\n", ""),
        ("Action: search[<plan\n> book]", ""),
        (
            "<|channel|>analysis<|message|>\nAction: go<|end|>"
            "<|start|>assistant<|channel|>final<|message|>Action: look<|return|>",
            "look",
        ),
        ("<|channel|>analysis<|message|>\nAction: go<|end|>\nAction: look", ""),
    ],
)
def test_replies_as_models_write_them(prompt, reply, action):
    assert prompt.parse(reply) == action


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("<think>so</think><action>look</action>", "look"),
        ("<think>\n<action>go</action>\n</think>\n<action>\n look\n</action>", "look"),
        ("<Action>look</ACTION>", "look"),
        ("<action>`look`</action> <action>look</action>", "look"),
        ("I could say <action>drop</action> but no. <action>look</action>", ""),
        ("<action>look</action> <action></action>", ""),
        ("<action>look</action> <action>look", ""),
        ("<action>Action: look</action>", "look"),
        ("<action>Action: Action: look</action>", ""),
        ("<action>look", ""),
        ("look</action>", ""),
        ("</action><action>look</action>", "look"),
        ("<action>look<action>go</action>", ""),
        ("<action>look\ngo</action>", ""),
        ("<action></action>", ""),
        ("<think>so<action>look</action>", ""),
        ("<action>search[<plan> notebook]</action>", ""),
        ("<action>search[<plan> a</plan> b]</action>", ""),
        ("<action>search[</s> dvd]</action>", ""),
        ("<action>look</s></action>", "look"),
        ("<action>look</s>\n</action>", "look"),
        ("Action: look", ""),
    ],
)
def test_an_action_in_tags(reply, action):
    assert PROMPTS["verl-agent"].parse(reply) == action


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("I look around.\n```\nlook\n```", "look"),
        ("The next action is ```click[Buy Now]```", "click[Buy Now]"),
        ("```text\nlook\n```\nThat is all.", "look"),
        ("```\nlook\n```\nor\n```\ngo\n```", ""),
        ("```\nlook", ""),
        ("```\nlook\ngo\n```", ""),
        ("```look\n```", ""),
        ("```two words\nlook\n```", ""),
        ("``````", ""),
        ("<think>```go```</think>```look```", "look"),
        ("```\nsearch[<plan> notebook]\n```", ""),
        ("```search[a<plan> b</plan> c]```", ""),
        ("```\nsearch[</s> dvd]\n```", ""),
        ("```\nAction: look\n```", "look"),
        ("```\n<action>look</action>\n```", "look"),
        ("```\n<action>look\n```", ""),
        ("look", ""),
    ],
)
def test_an_action_in_a_block_of_code(reply, action):
    assert PROMPTS["code-fence"].parse(reply) == action


@FORMATS
@pytest.mark.parametrize(
    "piece",
    [
        *("Action:", "Action: ", " ", "\n", " \n", "`", "Action: '", "Action", "\n Action", "\x00", "Action:\n"),
        *(
            "Action 1",
            "Action  ",
            "\u200b",
            "<think>",
            "</think>",
            "<think></think>",
            "<action>",
            "```",
            "<|",
            "</s>",
            "x</s>",
            *("<think ", "< ", "<", "&lt;think x", "<|channel|>", "<|channel|>final", "</action>", "<action></action>"),
        ),
        "**Action",
    ],
)
def test_a_megabyte_is_read_without_blowing_up(prompt, piece):
    # A quadratic reader would need minutes here, beyond the suite's timeout; nothing is timed.
    assert isinstance(prompt.parse(piece * (1_000_000 // len(piece))), str)
    assert isinstance(prompt.parse(piece + " " * 1_000_000), str)
    assert prompt.parse(prompt.render("'" * 500_000 + "x" + "'" * 500_000)) == "x"


def test_the_forms_by_hand():
    assert PROMPTS["action"].render("look", "unused") == "Action: look"
    assert PROMPTS["react"].render("look", "first\n  a look") == "Thought: first a look\nAction: look"
    assert PROMPTS["react"].render("look") == "Thought: \nAction: look"
    assert PROMPTS["verl-agent"].render("look", "first") == "<think>first</think>\n<action>look</action>"
    assert PROMPTS["code-fence"].render("look", "first") == "first\n```\nlook\n```"


@FORMATS
def test_the_system_text_begins_with_the_instructions_and_shows_the_form(prompt):
    text = prompt.system("Commands: look, go.")
    assert text.startswith("Commands: look, go.\n\n")
    assert prompt.render("<command>", "<your reasoning>").splitlines()[-1] in text
    assert ("reasoning" in text) == (prompt.name != "action")


@FORMATS
def test_an_action_of_several_lines_is_refused(prompt):
    with pytest.raises(ValueError, match="one line"):
        prompt.render("look\ngo")


def test_a_format_is_found_by_name():
    found: ReplyFormat = registry.prompt("react")
    assert found.name == "react"
    with pytest.raises(
        UserError, match=r"no prompt 'reakt' \(there are: action, react, verl-agent, eto, spa, code-fence\)"
    ):
        registry.prompt("reakt")


# The two scripted agents


def conversation(seed: int, turn: int = 0, admissible: tuple[str, ...] = (), expert: str | None = None) -> Conversation:
    said = [Message("assistant", "Action: look")] * turn
    return Conversation(seed, seed, [Message("user", "You are in a room."), *said], admissible, expert)


@FORMATS
def test_the_expert_says_the_teachers_action_in_the_form_of_a_reply(prompt):
    agent = registry.build("agents", "expert", prompt=prompt)
    assert agent.uses_expert
    asked = conversation(1, expert="heat egg 1 with microwave 1")
    asked.goal = "put a hot egg in fridge."
    (reply,) = agent.act([asked])
    thought = "The task asks for egg."
    assert reply.text == prompt.render("heat egg 1 with microwave 1", thought)
    assert reply.tokens is None
    with pytest.raises(ValueError, match="no expert action"):
        agent.act([conversation(1)])


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 3)), min_size=1, max_size=6), st.data())
def test_a_random_reply_depends_on_seed_and_turn_alone(episodes, data):
    agent = registry.build("agents", "random", prompt=PROMPTS["action"])
    commands = tuple(f"go to desk {i}" for i in range(20))
    live = [conversation(seed, turn, commands) for seed, turn in episodes]
    together = agent.act(live)
    order = data.draw(st.permutations(range(len(live))))
    assert [agent.act([live[i]])[0] for i in order] == [together[i] for i in order]
    assert all(PROMPTS["action"].parse(reply.text) in commands for reply in together)


def test_random_reaches_every_command_over_seeds_and_over_turns():
    agent = registry.build("agents", "random", prompt=PROMPTS["action"])
    commands = ("look", "inventory", "go to desk 1")
    for live in ([conversation(s, 0, commands) for s in range(60)], [conversation(0, t, commands) for t in range(60)]):
        assert {PROMPTS["action"].parse(reply.text) for reply in agent.act(live)} == set(commands)


def test_random_without_admissible_commands_says_nothing():
    agent = registry.build("agents", "random", prompt=PROMPTS["react"])
    assert PROMPTS["react"].parse(agent.act([conversation(0)])[0].text) == ""


def test_only_the_action_format_repeats_the_task_and_not_where_the_world_does():
    action, react = PROMPTS["action"], PROMPTS["react"]
    assert action.later("Nothing happens.", "put a mug in desk.") == "Nothing happens.\nTask: put a mug in desk."
    assert react.later("Nothing happens.", "put a mug in desk.") == "Nothing happens."
    assert (
        action.later("Instruction: buy a mug\nBack to Search", "buy a mug") == "Instruction: buy a mug\nBack to Search"
    )
