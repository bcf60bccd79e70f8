"""The page of single questions in a browser: filters, keyboard, addresses, images, and ten thousand questions."""

import time

import pytest

from support.browser import WIDTHS, violations
from support.explored import EDGES, EVIL, explored_model, write_explorer
from vlmflow.figures.save import javascript

COUNT = 300


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    write_explorer(folder, [explored_model(COUNT), explored_model(60, name="second", seed=1)], javascript())
    return folder / "index.html"


def rows(tab):
    return tab.page.locator(".row")


def shown(tab):
    """The heading of the question that is shown, when its charts are drawn."""
    tab.page.wait_for_selector(".question .chart svg")
    return tab.page.locator(".question h2").inner_text()


def test_it_opens_without_a_message_or_a_request(page, tab):
    tab.open(page)
    rows(tab).nth(2).click()
    assert shown(tab) == "Is the thing number 2 red or blue?"
    assert tab.page.locator(".count").inner_text() == f"{COUNT + 5} of {COUNT + 5} questions"
    assert tab.page.locator(".tokens tbody tr").all_inner_texts() == ['"Re"\t90.0 %', '"d"\t80.0 %']
    assert tab.page.locator(".question .chart svg").count() == 2
    assert tab.messages == []
    assert tab.outward() == []


def test_text_of_the_data_is_shown_as_text(page, tab):
    tab.open(page)
    rows(tab).first.click()
    assert shown(tab) == EVIL
    tab.page.select_option(".seen select", "words")
    assert tab.page.locator(".seen title", has_text="evil").first.text_content() == EVIL
    assert tab.messages == []
    assert tab.page.locator("img").count() == 0


def test_filters_and_sorting(page, tab):
    tab.open(page)
    choose, count = tab.page.select_option, tab.page.locator(".count")
    choose("[name=state]", "wrong")
    assert count.inner_text().startswith(f"{len(range(0, COUNT, 7))} of")
    choose("[name=task]", "QueryAttr")
    assert count.inner_text().startswith(f"{len(range(7, COUNT, 14))} of")
    choose("[name=state]", "dropped")
    choose("[name=task]", "")
    assert count.inner_text().startswith("5 of")
    rows(tab).first.click()
    tab.page.wait_for_selector(".question .verdict.dropped")
    assert "the image cannot be opened" in tab.page.locator(".question").inner_text()
    choose("[name=state]", "")
    tab.page.fill("[name=words]", " NUMBER 123 ")
    assert count.inner_text().startswith("1 of")
    tab.page.fill("[name=words]", "")
    choose("[name=edge]", EDGES[1])
    choose("[name=sort]", "effect")
    values = [float(each.rstrip(" %").replace("−", "-")) for each in tab.page.locator(".row .effect").all_inner_texts()]
    assert values == sorted(values)
    tab.page.fill("[name=below]", str(values[2]))
    assert 0 < int(count.inner_text().split()[0]) <= 2
    tab.page.select_option("[name=model]", "second")
    tab.page.wait_for_function("document.querySelector('.count').textContent.includes('of 65')")
    assert tab.messages == []


def test_the_keyboard_moves_through_the_list(page, tab):
    tab.open(page)
    tab.page.wait_for_selector(".row")
    tab.page.locator(".rows").focus()
    for key, heading in (("ArrowDown", EVIL), ("j", "1"), ("PageDown", None), ("End", "Dropped 4?"), ("Home", EVIL)):
        tab.page.keyboard.press(key)
        if heading is not None:
            expected = f"Is the thing number {heading} red or blue?" if heading.isdigit() else heading
            tab.page.wait_for_function(
                "text => document.querySelector('.question h2')?.textContent === text", arg=expected
            )
        chosen = tab.page.locator(".row[aria-selected=true]")
        assert chosen.count() == 1
        assert tab.page.locator(".rows").get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    assert tab.messages == []


def test_an_address_opens_the_same_question_again(page, tab):
    tab.open(page)
    tab.page.select_option("[name=sort]", "weakest")
    tab.page.select_option("[name=task]", "QueryAttr")
    rows(tab).nth(1).click()
    heading, place = shown(tab), tab.page.url.partition("#")[2]
    tab.page.goto("about:blank")
    tab.open(page, f"#{place}")
    assert shown(tab) == heading
    assert tab.page.locator("[name=task]").input_value() == "QueryAttr"
    tab.page.evaluate("location.hash = 'model=second&question=ChooseAttr/q00010'")
    tab.page.wait_for_function("document.querySelector('.question').textContent.includes('second')")
    tab.page.evaluate("location.hash = 'question=ChooseAttr/none'")
    tab.page.wait_for_function(
        "document.querySelector('.question').textContent.includes('has no question ChooseAttr/none')"
    )


def test_the_image_shows_boxes_patches_attention_and_words(page, tab):
    tab.open(page)
    rows(tab).nth(1).click()
    shown(tab)
    groups = tab.page.locator(".seen svg > g")
    visible = [groups.nth(number).evaluate("group => group.style.display !== 'none'") for number in range(4)]
    assert visible == [True, True, False, True], "related patches are shown on request"
    assert groups.nth(3).locator("text").all_text_contents() == ["thing"]
    cells = groups.nth(1).locator("rect")
    assert cells.count() == 24 * 24
    first = cells.nth(5).get_attribute("fill-opacity")
    slider = tab.page.locator(".seen input[type=range]")
    slider.focus()
    tab.page.keyboard.press("End")
    assert tab.page.locator(".seen output").inner_text().startswith("layer 31")
    assert slider.get_attribute("aria-valuetext") == "layer 31"
    assert cells.nth(5).get_attribute("fill-opacity") != first
    tab.page.check(".seen label:has-text('related patches') input")
    assert groups.nth(2).evaluate("group => group.style.display") == ""
    tab.page.fill("[name=words]", "number 250")  # one of those without attention and words
    rows(tab).first.click()
    tab.page.wait_for_function("!document.querySelector('.seen select')")
    assert tab.messages == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_or_overlaps(page, tab, width):
    tab.page.set_viewport_size({"width": width, "height": 900})
    tab.open(page)
    rows(tab).nth(3).click()
    shown(tab)
    found = tab.measure()
    assert found["width"] <= width
    assert found["overlapping"] == []
    assert found["outside"] == []
    assert violations(tab.page) == []


def test_ten_thousand_questions_open_within_two_seconds(tmp_path, tab):
    write_explorer(tmp_path, [explored_model(10_000)], javascript())
    begin = time.monotonic()
    tab.open(tmp_path / "index.html")
    tab.page.wait_for_selector(".row")
    assert time.monotonic() - begin < 2
    assert rows(tab).count() < 60, "only rows in sight are drawn"
    tab.page.locator(".rows").focus()
    begin = time.monotonic()
    tab.page.keyboard.press("End")
    assert "Dropped 4?" in tab.page.locator(".row[aria-selected=true]").inner_text()
    tab.page.fill("[name=words]", "number 9999")
    tab.page.wait_for_function("document.querySelector('.count').textContent.startsWith('1 of')")
    assert time.monotonic() - begin < 2
    files = {url.rsplit("/", 1)[-1] for url in tab.requests if "/part-" in url}
    assert len(files) == 1, "details of other questions are not loaded"
    assert tab.messages == []


def test_a_missing_folder_is_said(tmp_path, tab):
    write_explorer(tmp_path / "whole", [explored_model(3)], "")
    (tmp_path / "index.html").write_text((tmp_path / "whole" / "index.html").read_text())
    tab.open(tmp_path / "index.html")
    tab.page.wait_for_selector(".note:has-text('index-0.js is missing beside this page; it needs its whole folder')")
