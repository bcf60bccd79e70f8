"""Options and objects are found in every language, whatever the form of their characters."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from support.families.all import FAMILIES
from vlmflow import load_model
from vlmflow.prompts.compared_text import ComparedText, normalise
from vlmflow.prompts.spans import OR, find_objects, find_options, find_words

# Language → question, object, true option, false option.
QUESTIONS = {
    "Chinese": ("圆圈是红色还是蓝色？", "圆圈", "红色", "蓝色"),
    "Chinese, traditional": ("圓圈是紅色還是藍色？", "圓圈", "紅色", "藍色"),
    "Japanese": ("丸は赤ですか、それとも青ですか。", "丸", "赤", "青"),
    "Japanese, short": ("ボールは赤か青か？", "ボール", "赤", "青"),
    "Thai": ("วงกลมเป็นสีแดงหรือสีน้ำเงิน", "วงกลม", "สีแดง", "สีน้ำเงิน"),
    "Korean": ("원은 빨간색인가요 아니면 파란색인가요?", "원", "빨간색", "파란색"),
    "Arabic": ("هل الدائرة حمراء أم زرقاء؟", "الدائرة", "حمراء", "زرقاء"),
    "Hindi": ("वृत्त लाल है या नीला?", "वृत्त", "लाल", "नीला"),
    "Russian": ("Круг красный или синий?", "круг", "красный", "синий"),
    "German": ("Ist der Kreis rot oder blau?", "Kreis", "rot", "blau"),
    "French": ("Le café est-il rouge ou bleu ?", "café", "rouge", "bleu"),
    "Spanish": ("¿El círculo es rojo o azul?", "círculo", "rojo", "azul"),
    "Vietnamese": ("Hình tròn màu đỏ hay màu xanh?", "hình tròn", "đỏ", "xanh"),
    "Greek": ("Είναι ο κύκλος κόκκινος ή μπλε;", "κύκλος", "κόκκινος", "μπλε"),
    "Hebrew": ("האם העיגול אדום או כחול?", "העיגול", "אדום", "כחול"),
}
FORMS = ("NFC", "NFD")


def read(text, span):
    return normalise(text[slice(*span)])


@pytest.mark.parametrize("of_words", FORMS)
@pytest.mark.parametrize("of_text", FORMS)
@pytest.mark.parametrize("language", QUESTIONS)
def test_options_and_objects_are_found(language, of_text, of_words):
    question, *words = QUESTIONS[language]
    text = unicodedata.normalize(of_text, question)
    name, true, false = (unicodedata.normalize(of_words, word) for word in words)
    spans = find_options(text, true, false)
    assert [read(text, span) for span in spans] == [normalise(true), normalise(false)]
    assert [read(text, span) for span in find_objects(text, [name], spans).values()] == [normalise(name)]


def test_options_are_a_pair_in_other_languages_too():
    text = "橙子是橙子还是苹果？"
    assert find_options(text, "橙子", "苹果") == ((3, 5), (7, 9))
    text = "ส้มคือส้มหรือแอปเปิล"
    assert find_options(text, "ส้ม", "แอปเปิล")[0] == (6, 9)
    text = "Ist die Orange orange oder rot?"
    assert find_options(text, "orange", "rot")[0] == (15, 21)


def test_an_english_of_is_no_dutch_or():
    text = "Is the red of the sky blue of the sea or red of the sun?"
    assert find_options(text, "red", "blue")[0] == (41, 44)


def test_words_in_scripts_with_spaces_are_complete():
    assert find_words("Der Krebs ist groß", "Krebse") is None
    assert find_words("кругом красный", "круг") is None
    assert find_words("वृत्तों में", "वृत्त") is None, "a vowel sign belongs to the word"
    assert find_words("เก้าอี้", "เก้าอ") is None, "the vowel and the tone above it are missing"
    assert find_words("빨간색은", "간색") is None, "a word begins after a space"


def test_forms_and_invisible_characters_do_not_matter():
    zero_width = "the cof\u200bfee"
    assert zero_width[slice(*find_words(zero_width, "coffee"))] == "cof\u200bfee"
    assert find_words("ｒｅｄ or blue", "red") == (0, 3)
    assert find_words("STRASSE", "Straße") == (0, 7)
    assert find_words("the Straße", "STRASSE") == (4, 10)
    assert find_words("한국어".join(" ."), unicodedata.normalize("NFD", "한국어")) == (1, 4)
    assert find_words("text", "\u200b") is None


@given(st.text(max_size=30))
def test_every_character_has_its_place(text):
    compared = ComparedText(text)
    assert len(compared.normalised) == len(compared._origins)
    ends = [stop for _, stop in compared._origins]
    assert ends == sorted(ends)
    for word in filter(str.strip, text.split()):
        for start, stop in compared.spans_of(word):
            assert normalise(text[start:stop]) in (normalise(word).strip(), normalise(word))


def test_every_language_has_words_for_or():
    for words in OR.values():
        assert all(normalise(word) for word in words.split())


@pytest.mark.parametrize("language", ["Chinese", "Thai", "French"])
def test_segments_hold_the_tokens_of_words_in_other_scripts(language, tmp_path):
    """Whose characters are several tokens each."""
    FAMILIES["Qwen2-VL"].build(tmp_path)
    vlm = load_model(tmp_path, device="cpu")
    question, name, true, false = QUESTIONS[language]
    boxes = {name: [(10, 10, 30, 30)]}
    prompt = vlm.prompt(Image.new("RGB", (90, 90)), question, objects=boxes, options=(true, false))
    tokens = prompt.inputs["input_ids"][0]
    for segment, text in {"question": question, "true option": true, "false option": false, "objects": name}.items():
        assert text in vlm.processor.tokenizer.decode(tokens[prompt.positions(segment)]), segment
        assert len(prompt.positions(segment)) < 4 * len(text)
