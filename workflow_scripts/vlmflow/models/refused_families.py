"""Families of `AutoModelForImageTextToText` that are refused by name, before anything of them is read, and why."""

# Of these, a forward or an answer is not what is measured here.
OTHERWISE = {
    "diffusion_gemma": "it writes an answer in blocks, by diffusion, and not token by token",
    "evolla": "it reads proteins, not images",
    "git": "it puts the image's features before the prompt, in which nothing stands for them",
    "instructblipvideo": "it reads videos, not images",
    "mistral4": "it is a language model alone; a study loads such models with `reads: captions`",
    "pi0": "it predicts the actions of a robot, not words",
    "pp_chart2table": "its processor has no image token, and its conversation asks one fixed question",
    "shieldgemma2": "its processor writes policies of its own in place of a question",
}

# Of these, no model has been compared with the plain method; the first part of a reason is what stood in the way.
UNTRIED = "no model of this family has been compared with the plain method"
TORCHVISION = f"its images are cut with torchvision only; {UNTRIED}"
NOT_COMPARED = {
    "cosmos3_edge": f"its processor leaves out an input that the model needs; {UNTRIED}",
    "cosmos3_omni": f"`transformers` names no processor for it; {UNTRIED}",
    "deepseek_ocr2": UNTRIED,
    "fast_vlm": f"its image encoder is one of timm's; {UNTRIED}",
    "fuyu": f"its image processor for PIL fails in transformers 5.23; {UNTRIED}",
    "gemma4_unified": TORCHVISION,
    "kimi_k25": TORCHVISION,
    "kosmos-2.5": f"its configuration names no image token; {UNTRIED}",
    "minicpm_ocr": TORCHVISION,
    "minimax_m3_vl": f"an indexer chooses the keys to which its layers attend; {UNTRIED}",
    "muse_glimmer": f"its logits are scaled and bounded in a way of its own; {UNTRIED}",
    "muse_spark": f"its logits are scaled and bounded in a way of its own; {UNTRIED}",
    "qwen2_5_omni_thinker": UNTRIED,
    "qwen3_omni_moe_thinker": UNTRIED,
    "step3p7": TORCHVISION,
}

REFUSED_FAMILIES = OTHERWISE | NOT_COMPARED
