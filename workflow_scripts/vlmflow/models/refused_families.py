"""Families of `AutoModelForImageTextToText` that are refused by name, before anything of them is read, and why."""

# Of these, a forward or an answer is not what is measured here.
OTHERWISE = {
    "diffusion_gemma": "it writes an answer in blocks, by diffusion, and not token by token",
    "evolla": "it reads proteins, not images",
    "git": "it puts the image's features before the prompt, in which nothing stands for them",
    "instructblipvideo": "it reads videos, not images",
    "mistral4": "it is a language model alone; a study loads such models with `reads: captions`",
    "pi0": "it predicts the actions of a robot, not words",
    "pp_chart2table": "its processor writes a fixed prompt of its own, in which no question can be asked",
    "shieldgemma2": "its processor writes policies of its own in place of a question",
}

# Of these, no small model could be built and compared with the plain method, so that nothing is known of them.
UNTRIED = "no model of this family has been compared with the plain method"
TORCHVISION = f"its images are cut with torchvision only; {UNTRIED}"
NOT_COMPARED = {
    "cosmos3_edge": UNTRIED,
    "cosmos3_omni": f"`transformers` has no processor of its own for it; {UNTRIED}",
    "deepseek_ocr2": UNTRIED,
    "fast_vlm": f"its image encoder is one of timm's; {UNTRIED}",
    "fuyu": f"its processor fails without torchvision; {UNTRIED}",
    "gemma4_unified": TORCHVISION,
    "kimi_k25": TORCHVISION,
    "kosmos-2.5": f"nothing in its prompt stands for the image; {UNTRIED}",
    "minicpm_ocr": TORCHVISION,
    "minimax_m3_vl": TORCHVISION,
    "muse_glimmer": TORCHVISION,
    "muse_spark": TORCHVISION,
    "qwen2_5_omni_thinker": f"its processor wants sound as well; {UNTRIED}",
    "qwen3_omni_moe_thinker": f"its processor wants sound as well; {UNTRIED}",
    "step3p7": TORCHVISION,
}

REFUSED_FAMILIES = OTHERWISE | NOT_COMPARED
