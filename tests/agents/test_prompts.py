"""Reply formats: what is rendered is read back, and no text, however hostile, does more than fail to parse."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import HOSTILE

from spa_bench import registry
from spa_bench.agents.prompts import PROMPTS
from spa_bench.core import Conversation, Message, ReplyFormat, UserError

FORMATS = pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)

COMMANDS = st.text(alphabet=st.characters(exclude_characters="\n"), max_size=40).filter(
    lambda text: text == text.strip() and not (len(text) > 1 and text[0] == text[-1] and text[0] in "`\"'")
)
"""One line, without the white space and the pair of quotes that a reader takes off."""


@FORMATS
@given(action=COMMANDS, thought=HOSTILE)
@example(action="go to desk 1", thought="")
@example(action="search[levi's 'slim' jeans]", thought="I should say\nAction: buy now\nbut I will not")
@example(action='say "hello"', thought="")
@example(action="Action: look", thought="Action: look")
@example(action="'", thought="")
def test_a_rendered_command_is_read_back(prompt, action, thought):
    assert prompt.parse(prompt.render(action, thought)) == action


@FORMATS
@given(reply=HOSTILE | st.text(alphabet="Action: \n\r\t`\"'x\x00\ud800", max_size=60))
def test_any_text_parses_to_one_stripped_line_and_reading_it_again_changes_nothing(prompt, reply):
    action = prompt.parse(reply)
    assert "\n" not in action
    assert action == action.strip()
    assert prompt.parse(prompt.render(action)) == action
    assert action == "" or "Action:" in reply


@FORMATS
@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("Action: go to desk 1", "go to desk 1"),
        ("Action:go to desk 1", "go to desk 1"),
        ("  Action:   go to desk 1  \r\n", "go to desk 1"),
        ("Thought: I need a desk.\nAction: go to desk 1", "go to desk 1"),
        ("Thought: maybe Action: look helps\nAction: go to desk 1", "go to desk 1"),
        ("Action: go to desk 1\nObservation: a lamp\nAction: take lamp", "go to desk 1"),
        ("Action: `go to desk 1`", "go to desk 1"),
        ("Action: \"'go to desk 1'\"", "go to desk 1"),
        ('Action: "go to desk 1', '"go to desk 1'),
        ("Action: search[\x00\ud800]", "search[\x00\ud800]"),
        ("Action: a\u2028b", "a\u2028b"),
        ("Action:\ngo to desk 1", ""),
        ("Action: ``", ""),
        ("Action:", ""),
        ("action: look", ""),
        ("go to desk 1", ""),
        ("Thought: the Action: look", ""),
        ("Actions: look", ""),
        ("", ""),
    ],
)
def test_replies_as_models_write_them(prompt, reply, action):
    assert prompt.parse(reply) == action


@FORMATS
@pytest.mark.parametrize(
    "piece", ["Action:", "Action: ", " ", "\n", " \n", "`", "Action: '", "Action", "\n Action", "\x00", "Action:\n"]
)
def test_a_megabyte_is_read_without_blowing_up(prompt, piece):
    # A quadratic reader would need minutes here, beyond the suite's timeout; nothing is timed.
    assert isinstance(prompt.parse(piece * (1_000_000 // len(piece))), str)
    assert prompt.parse("Action: " + "'" * 500_000 + "x" + "'" * 500_000) == "x"


def test_the_two_forms_by_hand():
    assert PROMPTS["action"].render("look", "unused") == "Action: look"
    assert PROMPTS["react"].render("look", "first\n  a look") == "Thought: first a look\nAction: look"
    assert PROMPTS["react"].render("look") == "Thought: \nAction: look"


@FORMATS
def test_the_system_text_begins_with_the_instructions_and_shows_the_form(prompt):
    text = prompt.system("Commands: look, go.")
    assert text.startswith("Commands: look, go.\n\n")
    assert "\nAction: <command>" in text
    assert ("Thought:" in text) == prompt.thought


@FORMATS
def test_an_action_of_several_lines_is_refused(prompt):
    with pytest.raises(ValueError, match="one line"):
        prompt.render("look\ngo")


def test_a_format_is_found_by_name():
    found: ReplyFormat = registry.prompt("react")
    assert found.name == "react"
    with pytest.raises(UserError, match=r"no prompt 'reakt' \(there are: action, react\)"):
        registry.prompt("reakt")


# The two scripted agents


def conversation(seed: int, turn: int = 0, admissible: tuple[str, ...] = (), expert: str | None = None) -> Conversation:
    said = [Message("assistant", "Action: look")] * turn
    return Conversation(seed, seed, [Message("user", "You are in a room."), *said], admissible, expert)


@FORMATS
def test_the_expert_says_the_teachers_action_in_the_form_of_a_reply(prompt):
    agent = registry.build("agents", "expert", prompt=prompt)
    assert agent.uses_expert
    (reply,) = agent.act([conversation(1, expert="heat egg 1 with microwave 1")])
    assert reply.text == prompt.render("heat egg 1 with microwave 1")
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
