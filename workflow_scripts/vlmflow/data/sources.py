"""Where the data of the papers lie, and by which checksums they are known."""

GQA_URL = "https://downloads.cs.stanford.edu/nlp/data/gqa"

# The questions of [flow], in its authors' repository.
PAPER_QUESTIONS_URL = (
    "https://raw.githubusercontent.com/FightingFighting/cross-modal-information-flow-in-MLLM/"
    "c9a1111dac4baa175f67716fab473789320187c0/datasets"
)
# File → sha256.
PAPER_QUESTIONS = {
    f"GQA_val_correct_question_with_{name}.csv": sha256
    for name, sha256 in {
        "choose_ChooseAttr": "3ecef9b8462b2098a54341a57c6d96699bb7518632e4047a61242540dd93a73b",
        "categoryThatThisChoose_objThisChoose_ChooseCat": (
            "ebb7f5faddeddaa2f06dbb81b838c3dbad7530284198cbcd337626773a79aef8"
        ),
        "relChooser_ChooseRel": "0bbc45d9c9b609409f30d7ecf9be6f2957347c4cdcc5480b531ae0b8ef5282c0",
        "twoCommon_CompareAttr": "ac1e9fc073e286c3657f32b103f4c7a16e4be07b391718f0bb7245f87b2e51c4",
        "existThatOr_LogicalObj": "946eb47be4aa9a7f9b4f6b10804c1bb5f8da4f29d0a1c3129eac465b0ea28d19",
        "positionQuery_QueryAttr": "0a61bdd561748f9cc59577f2becc162941fb6f9f1e0abb9b1ea3702759e9245d",
    }.items()
}

# Archive of GQA → the member that holds a split, as a pattern.
GQA_MEMBERS = {
    "questions": ("questions1.2.zip", "{split}_balanced_questions.json"),
    "scene_graphs": ("sceneGraphs.zip", "{split}_sceneGraphs.json"),
}
GQA_PICTURES = ("images.zip", "images/{image_id}.jpg")

# Region descriptions of Visual Genome, whose pictures GQA's are.
REGIONS_URL = "https://homes.cs.washington.edu/~ranjay/visualgenome/data/dataset/region_descriptions.json.zip"
REGIONS_MEMBER = "region_descriptions.json"

OKVQA_URL = "https://okvqa.allenai.org/static/data"
# Archive of OK-VQA's validation split → the member that it holds.
OKVQA_MEMBERS = {
    "questions": ("OpenEnded_mscoco_val2014_questions.json.zip", "OpenEnded_mscoco_val2014_questions.json"),
    "annotations": ("mscoco_val2014_annotations.json.zip", "mscoco_val2014_annotations.json"),
}
AOKVQA_URL = "https://prior-datasets.s3.us-east-2.amazonaws.com/aokvqa/aokvqa_v1p0.tar.gz"
AOKVQA_MEMBER = "aokvqa_v1p0_val.json"

# The bucket behind images.cocodataset.org, by the only name for which its certificate holds.
COCO_URL = "https://s3.amazonaws.com/images.cocodataset.org"
# Picture of COCO, by its number, as the address ends.
COCO_2017 = "val2017/{number:012d}.jpg"
COCO_PICTURES = {
    "ok-vqa": "val2014/COCO_val2014_{number:012d}.jpg",
    "a-okvqa": COCO_2017,
    "coco-captions": COCO_2017,
}
# How else a folder of COCO's may call them: each picture has one number in all its years and splits.
COCO_NAMES = ("{number:012d}", "COCO_val2014_{number:012d}", "COCO_train2014_{number:012d}")
COCO_CAPTIONS_URL = f"{COCO_URL}/annotations/annotations_trainval2017.zip"
COCO_CAPTIONS_MEMBER = "annotations/captions_val2017.json"

# A dataset of the Hugging Face hub, where access has to be asked for.
WINOGROUND = "facebook/winoground"
WINOGROUND_EXAMPLES = "data/examples.jsonl"
WINOGROUND_PICTURES = "data/images.zip"
