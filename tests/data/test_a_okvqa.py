"""A-OKVQA, in its layout and broken."""

import json

from vlmflow.data.a_okvqa import AOkVqaDataset, read_a_okvqa
from vlmflow.data.entries import SAME_ID
from vlmflow.tables import QUESTIONS, SKIPPED


def test_questions_of_a_okvqa_are_read(tmp_path):
    entry = {
        "split": "val",
        "image_id": 299207,
        "question_id": "22MexNkBPpdZGX6sxbxVBH",
        "question": "What is the man by the bags awaiting?",
        "choices": ["skateboarder", "train", "delivery", "cab"],
        "correct_choice_idx": 3,
        "direct_answers": ["ride", "cab", "cab", "taxi"],
        "difficult_direct_answer": False,
        "rationales": [],
    }
    broken = [{"question_id": "x"}, entry | {"question_id": "z", "direct_answers": []}]
    entries = [entry, entry | {"question_id": "y", "difficult_direct_answer": True}, entry, *broken]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    rows, skipped = read_a_okvqa(tmp_path / "a.json")
    frame = QUESTIONS.frame(rows)
    assert frame["answer"].to_list() == ["cab", "cab"]
    assert frame["problem"].to_list() == [None, "its authors mark it as too open for a direct answer"]
    account = {row["question_id"]: row["reason"] for row in SKIPPED.frame(skipped).to_dicts()}
    assert account[entry["question_id"]] == SAME_ID
    assert "image_id: Field required" in account["x"]
    assert "direct_answers" in account["z"]
    assert AOkVqaDataset(source="a-okvqa").read({"questions": str(tmp_path / "a.json")}) == (rows, skipped)
