"""The engine in a small shop: every page in both kinds of text, every quirk of the grammar, and laws under any text."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import HOSTILE
from webshop_shop import goal, shop

from spa_bench.environments.webshop import words
from spa_bench.environments.webshop.engine import START, Engine

INSTRUCTION = goal().text
HEAD = f"Instruction: [SEP] {INSTRUCTION} [SEP] Back to Search"
DRESS_PAGE = (
    f"{HEAD} [SEP] < Prev [SEP] color [SEP] red [SEP] titan [SEP] black | white [SEP] size [SEP] x-large [SEP] small "
    "[SEP] Summer Dress for Women [SEP] Price: $19.99 to $29.99 [SEP] Rating: N.A. [SEP] Description [SEP] Features "
    "[SEP] Reviews [SEP] Buy Now"
)


def engine(*actions: str, **options: object) -> Engine:
    made = Engine(shop(), goal(), **options)
    for action in actions:
        made.step(action)
        assert made.executed, action
    return made


ON_DRESS = "search[dress]", "click[b000000001]"
ON_SHIRT = "search[shirt,]", "click[B000000002]"


# Pages as text


def test_an_episode_starts_on_the_search_page():
    fresh = engine()
    assert fresh.reset() == fresh.observation == f"WebShop [SEP] Instruction: [SEP] {INSTRUCTION} [SEP] Search"
    assert (fresh.clickables, fresh.done, fresh.score, fresh.state) == (("Search",), False, None, START)


def test_results_list_ten_products_a_page_without_end():
    searched = engine("search[filler]")
    lines = searched.observation.split(" [SEP] ")
    assert lines[3:5] == ["Page 1 (Total results: 50)", "Next >"]
    assert lines[5:8] == ["C000000000", "Filler thing 0", "$100.0"]
    assert len(lines) == 5 + 30
    assert searched.clickables == ("Back to Search", "Next >", *(f"C00000000{i}" for i in range(10)))
    for _ in range(5):
        last = searched.step("click[next >]")
    assert last == f"{HEAD} [SEP] Page 6 (Total results: 50) [SEP] < Prev [SEP] Next >"
    assert searched.step("click[< Prev]").split(" [SEP] ")[6:8] == ["C000000040", "Filler thing 40"]
    assert engine("search[nowhere]").observation == f"{HEAD} [SEP] Page 1 (Total results: 0) [SEP] Next >"


def test_an_item_page_shows_no_trace_of_chosen_options_in_plain_text():
    item = engine(*ON_DRESS)
    assert item.observation == DRESS_PAGE
    buttons = ("Back to Search", "< Prev", "Description", "Features", "Reviews", "Buy Now")
    assert item.clickables == (*buttons, "red", "titan", "black | white", "x-large", "small")
    assert item.step("click[Titan]") == DRESS_PAGE
    assert item.executed
    assert item.state.options == (("color", "titan"),)


def test_sub_pages():
    pages = {sub: engine(*ON_DRESS, f"click[{sub}]") for sub in ("description", "features", "reviews")}
    assert pages["description"].observation == f"{HEAD} [SEP] < Prev [SEP] Light & airy."
    assert pages["features"].observation == f"{HEAD} [SEP] < Prev [SEP] 100% Cotton [SEP] Machine wash"
    assert pages["reviews"].observation == f"{HEAD} [SEP] < Prev"
    assert pages["reviews"].clickables == ("Back to Search", "< Prev")
    told = engine(*ON_DRESS, "click[attributes]", attributes_button=True).observation
    category = "fashion [SEP] women's dresses [SEP] Clothing › Women › Dresses"
    assert told == f"{HEAD} [SEP] < Prev [SEP] cotton [SEP] machine wash [SEP] {category}"


def test_white_space_is_shown_as_beautiful_soup_leaves_it():
    features = engine("search[desk]", "click[b00lower03]", "click[features]")
    assert features.observation == f"{HEAD} [SEP] < Prev [SEP]  [SEP] a\nb"
    assert engine(*ON_SHIRT, "click[description]").observation == f"{HEAD} [SEP] < Prev"


def test_the_page_after_a_purchase():
    bought = engine(*ON_DRESS, "click[small]", "click[red]", "click[titan]", "click[buy now]")
    assert (bought.done, bought.clickables, bought.score.total) == (True, (), 0.8)
    assert bought.observation == (
        "Thank you for shopping with us! [SEP] Your code: [SEP] None [SEP] (Paste it in your MTurk interface.) [SEP] "
        'Purchased [SEP] asin [SEP] B000000001 [SEP] options [SEP] {"color": "titan", "size": "small"} [SEP] '
        "attrs [SEP] None [SEP] category [SEP] None [SEP] query [SEP] None [SEP] product category [SEP] None [SEP] "
        "Target [SEP] asin [SEP] options [SEP] attrs [SEP] price upper [SEP] instuction text [SEP] category [SEP] "
        "product category [SEP] query [SEP] Goal [SEP] None [SEP] Reward [SEP] Your score (min 0.0, max 1.0) [SEP] "
        "0.8 [SEP] Reward Details [SEP] None"
    )
    for action in ("search[dress]", "click[back to search]", "click[buy now]"):
        assert bought.step(action) == bought.observation
        assert not bought.executed


def test_bought_options_are_written_as_flask_writes_json():
    bought = engine(*ON_SHIRT, "click[vanilla 'n <fudge>]", "click[buy now]")
    assert r'{"flavor": "vanilla \u0027n \u003cfudge\u003e"}' in bought.observation


# Rich text


def test_rich_text_marks_what_can_be_clicked_and_what_was():
    rich = engine("search[dress lamp]", text="text_rich")
    head = f"Instruction:\n{INSTRUCTION}\n[button] Back to Search [button_]\n"
    dress = "\n[button] B000000001 [button_]\nSummer Dress for Women\n$19.99 to $29.99\n"
    lamp = "\n[button] b00lower03 [button_]\nDesk Lamp\n$100.0\n"
    page = f"{head}Page 1 (Total results: 2)\n[button] Next > [button_]\n"
    assert rich.observation == page + dress + lamp
    rich.step("click[b000000001]")
    rich.step("click[small]")
    assert rich.step("click[titan]") == (
        f"You have clicked small.\nYou have clicked titan.\n{head}[button] < Prev [button_]\ncolor\n"
        "  [button] red [button_]\n  [clicked button] titan [clicked button_]\n  [button] black | white [button_]\n"
        "size\n  [button] x-large [button_]\n  [clicked button] small [clicked button_]\n"
        "Summer Dress for Women\nPrice: $19.99 to $29.99\nRating: N.A.\n[button] Description [button_]\n"
        "[button] Features [button_]\n[button] Reviews [button_]\n[button] Buy Now [button_]\n"
    )
    clicked = dress.replace("[button]", "[clicked button]").replace("[button_]", "[clicked button_]")
    assert rich.step("click[< prev]") == page + clicked + lamp
    rich.step("click[back to search]")
    assert rich.step("search[dress lamp]") == page + dress + lamp


def test_a_quoted_word_in_the_search_fakes_a_click_and_a_word_beyond_ascii_is_never_clicked():
    faked = engine('search["red" dress]', "click[b000000001]", text="text_rich")
    assert faked.observation.startswith("You have clicked red.\n")
    assert faked.state.options == ()
    foreign = engine(*ON_SHIRT, "click[café]", text="text_rich")
    assert foreign.state.options == (("flavor", "café"),)
    assert "clicked" not in foreign.observation


def test_rich_text_keeps_blanks():
    assert engine(text="text_rich").observation == f"WebShop\nInstruction: \n{INSTRUCTION}\n[button] Search [button_]\n"
    assert "\n 100% Cotton\n Machine wash\n" in engine(*ON_DRESS, "click[features]", text="text_rich").observation


# Ways


def test_ways_back():
    item = engine(*ON_DRESS, "click[red]", "click[features]")
    assert item.step("click[< prev]") == DRESS_PAGE
    assert item.state.options == (("color", "red"),)  # kept on a sub page
    item.step("click[< prev]")
    assert (item.state.page, item.state.asin, item.state.options) == ("results", "", ())  # forgotten with the product
    assert item.step("click[back to search]").startswith("WebShop")
    assert item.state == START


def test_previous_leads_to_the_page_of_results_one_came_from():
    item = engine("search[filler]", "click[next >]", "click[c000000012]", "click[< prev]")
    assert "Page 2 (" in item.observation


def test_one_value_per_name_in_the_order_of_first_choice():
    item = engine(*ON_DRESS, "click[red]", "click[small]", "click[titan]")
    assert item.state.options == (("color", "titan"), ("size", "small"))


def test_options_that_are_called_like_buttons():
    item = engine(*ON_SHIRT, "click[next >]")
    assert item.state.options == (("flavor", "next >"),)
    item.step("click[search]")
    assert not item.executed
    assert engine(*ON_SHIRT, "click[buy now]").done  # upstream goes by the text


def test_an_option_with_a_bracket_cannot_be_named():
    item = engine(*ON_SHIRT)
    assert "a[b" in item.clickables
    item.step("click[a[b]")
    assert not item.executed


def test_searching_is_possible_on_every_page_and_forgets_the_product():
    for actions in ((), ("search[lamp]",), ON_DRESS, (*ON_DRESS, "click[red]", "click[features]")):
        found = engine(*actions, "search[DRESS]")
        assert (found.state.page, found.state.keywords, found.state.options) == ("results", "dress", ())


@pytest.mark.parametrize("query", ["<r>", "<a> cotton", "<c>", "<q> lamps", "search_results dress", "item_page dress"])
def test_upstreams_debug_queries_and_page_names_are_ordinary_words(query):
    found = engine(f"search[{query}]")
    assert found.shop.catalogue.searches == [query]
    if "dress" in query:
        assert "Page 1 (" in engine(f"search[{query}]", "click[B000000001]", "click[< prev]").observation


def test_the_search_engine_is_asked_once_per_query():
    found = engine("search[filler]", "click[next >]", "click[c000000012]", "click[< prev]", "search[filler]")
    assert found.shop.catalogue.searches == ["filler"]


# Grammar


UPSTREAMS = re.compile(r"(.+)\[(.+)\]")
"""The expression of the facts, for short texts only."""


@given(st.text(alphabet="ab[]\nÀ\r ", max_size=12) | HOSTILE)
def test_the_grammar_is_upstreams(action):
    found = UPSTREAMS.match(action)
    assert words.parse(action) == (None if found is None else (found[1], found[2].lower()))


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        ("buy it", "format"),
        ("search[]", "format"),
        ("click dress", "format"),
        ("look[dress]", "format"),
        ("Click[dress]", "format"),
        (" search[dress]", "format"),
        ("click[a[b]]", "format"),
        ("search[dre\nss]", "format"),
        ("click[dress]", "inadmissible"),
        ("click[search] now", "inadmissible"),
    ],
)
def test_what_is_not_executed_has_a_fault(action, fault):
    fresh = engine()
    before = fresh.observation
    assert fresh.step(action) == before
    assert (fresh.executed, words.fault(action)) == (False, fault)


def test_text_after_the_last_bracket_is_ignored():
    assert engine("search[dress] because\nclick[x]").state.keywords == "dress"


# Laws


ANY_SHOP = shop()
CLICKS = ("next >", "< prev", "b000000001", "b000000002", "red", "small", "features", "back to search", "buy now")
LIKELY = st.sampled_from(["dress", "filler", "shirt, lamp"]).map("search[{}]".format) | st.sampled_from(CLICKS).map(
    "click[{}]".format
)
ACTIONS = LIKELY | LIKELY | LIKELY | HOSTILE | HOSTILE.map("search[{}]".format) | HOSTILE.map("click[{}]".format)
KINDS = st.sampled_from(["text", "text_rich"])


@given(st.lists(ACTIONS, max_size=15), KINDS)
def test_any_text_is_executed_or_changes_nothing(actions, kind):
    world = Engine(ANY_SHOP, goal(), kind)
    for action in actions:
        before, seen, possible = world.state, world.observation, world.clickables
        foreseen = world.executes(action)
        assert world.state == before
        shown = world.step(action)
        assert world.executed == foreseen
        assert shown == world.observation
        assert kind != "text" or world.plain == shown
        assert world.done == (world.score is not None) == (world.state.page == "done")
        if not world.executed:
            assert (world.state, shown, world.clickables) == (before, seen, possible)
            assert words.fault(action) in ("format", "inadmissible")
        if not world.done:
            assert words.goal(shown) == INSTRUCTION


@given(st.lists(LIKELY, max_size=12), KINDS)
def test_what_is_listed_can_be_clicked_and_nothing_else(actions, kind):
    world = Engine(ANY_SHOP, goal(), kind)
    for action in actions:
        world.step(action)
    state = world.state
    for text in world.clickables:
        world.step(f"click[{text}]")
        assert world.executed == (text != "Search" and text != "search" and "[" not in text)
        world.restore(state)
    world.step("click[no such thing]")
    assert not world.executed


@given(st.lists(ACTIONS, max_size=8), st.lists(ACTIONS, max_size=8), KINDS)
def test_a_restored_state_goes_on_like_the_first_time_in_any_engine(before, after, kind):
    world = Engine(ANY_SHOP, goal(), kind)
    for action in before:
        world.step(action)
    state, seen = world.state, world.observation
    assert hash(state) == hash(world.state)
    first = [(world.step(action), world.executed, world.state, world.clickables) for action in after]
    for again in (world, Engine(ANY_SHOP, goal(), kind)):
        again.restore(state)
        assert (again.observation, again.executed) == (seen, True)
        assert [(again.step(action), again.executed, again.state, again.clickables) for action in after] == first
    assert world.reset() == Engine(ANY_SHOP, goal(), kind).observation


@pytest.mark.parametrize("letter", ["[", "]", "a", "[a", "[a]", "\ud800", '"', "search["])
def test_a_megabyte_of_anything_costs_no_more_than_reading_it(letter):
    text = letter * (1_000_000 // len(letter))
    began = time.process_time()
    for action in (text, f"search[{text}]", f"click[{text}]", f"{text}\n[{text}]"):
        for kind in ("text", "text_rich"):
            world = engine(*ON_DRESS, text=kind)
            world.step(action)
            world.step("click[next >]")
            words.fault(action)
    assert time.process_time() - began < 20


# Words


def test_the_goal_is_read_out_of_every_page():
    for kind in ("text", "text_rich"):
        for actions in ((), ("search[dress]",), ON_DRESS, (*ON_DRESS, "click[red]"), (*ON_DRESS, "click[features]")):
            assert words.goal(engine(*actions, text=kind).observation) == INSTRUCTION
        assert words.goal(engine(*ON_DRESS, "click[buy now]", text=kind).observation) == ""


def test_examples_are_commands_and_the_instructions_name_both():
    assert {words.fault(example) for example in words.EXAMPLES} == {"inadmissible"}
    assert "search[words]" in words.instructions()
    assert "click[text]" in words.instructions()
