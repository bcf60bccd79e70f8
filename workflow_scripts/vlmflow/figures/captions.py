"""What figures show, in words."""

from vlmflow.edges import ALL_EDGES
from vlmflow.probes import (
    AttentionMapProbe,
    BudgetProbe,
    KnockoutProbe,
    LensProbe,
    PlacesProbe,
    Probe,
    PruningProbe,
    VisualLensProbe,
    WordsProbe,
)
from vlmflow.study import ExamplesChart, Figure, SimilarityChart, VisualLensChart

from .panels import window_of

MEANS = "Lines: mean over questions; bands: 95 % bootstrap interval over pictures."
CHANGE = (
    "Relative change in the probability of the model's answer when the edge is knocked out in the layers of a window "
    "around each layer."
)
CAPTIONS = {
    "flow": f"{CHANGE} {MEANS}",
    "windows": f"{CHANGE} A panel a window of k layers. {MEANS}",
    "atlas": (
        f"{CHANGE} A dot marks a loss, a plus a gain, where the 95 % bootstrap interval over pictures excludes 0: of "
        "edges that carry nothing, about one cell in twenty would be marked by chance. Grey: the edge does not apply "
        "to the task."
    ),
    "lens": (
        "Probability of each word at the last position when the state after each layer is read through the "
        f"unembedding. {MEANS}"
    ),
    "norms": (
        "How many patches have features of which norm, as the image encoder hands them to the projector; eight bins "
        "to a doubling, both axes logarithmic (the upright one linear near 0). Lines: mean share over questions; "
        "bands: 95 % bootstrap interval over pictures."
    ),
    "pruning": (
        "The picture's tokens are dropped in the last layers, for the prompt and for decoding. Right answers: of "
        f"{{}} that were asked, not only of those that the intact model answers rightly. {MEANS}"
    ),
    "similarity": (
        "Mean cosine similarity of the states of all pairs of tokens: of the picture and of the text (the prompt's own "
        f"words), and within each of the two. {{}} {MEANS}"
    ),
    "attention": (
        "What the positions of the target look at, in percent of all positions that they can see: attention weights "
        "(mean over heads), and norms of what the attention takes from there, weighted and projected (Kobayashi et "
        f"al. 2020). {MEANS}"
    ),
    "map": (
        "What the instruction looks at in the picture: for each patch the share of the attention weights, or of the "
        "norms of what is taken from there (Kobayashi et al. 2020), mean over the target's positions and over "
        "questions. One colour scale for all layers; intervals in the interactive figure."
    ),
    "places": (
        "How much the loss of the reference answer grows when no other token may look at those of one cell of a "
        "{} grid over the picture, in any layer: mean over questions; intervals in the interactive figure."
    ),
    "budget": (
        "Loss of the reference answer (mean over its tokens) when the model sees only so many of the picture's tokens. "
        f"Rings: the knee of the curve, where it has one, with its 95 % interval. {MEANS}"
    ),
}
EXAMPLES = {
    "attention": (
        "Single questions: the picture as the model sees it, veiled where the target looks less. One scale for all "
        "layers of a picture."
    ),
    "places": (
        "Single questions: the picture as the model sees it, veiled where the loss of the reference answer grows less "
        "without the cell."
    ),
    "words": (
        "Single questions: the most probable word of each patch's state, read through the final norm and the "
        "unembedding, after some of the layers."
    ),
}
LENS = {
    "names": (
        "Percentage of patches of which one of the {} most probable words, read through the final norm and the "
        "unembedding, is the name or an attribute of the object that the question is about: on the object's own "
        "patches, on patches of none of the objects, and, on its own patches, another question's object."
    ),
    "entropy": "Entropy of the words that the picture's tokens decode to.",
    "words": (
        "Percentage of the picture's tokens that decode to a word, or to the beginning of one: at least two letters "
        "and nothing else, and no piece from within a word."
    ),
    "agreement": (
        "Percentage of the picture's tokens whose most probable word is the same as with the right instruction: with "
        "another picture's question, and with none."
    ),
    "difference": (
        "How many more patches of an object say its name or an attribute than with the right instruction, question by "
        "question: with another picture's question, and with none. An interval around 0 is what independence of the "
        "instruction looks like."
    ),
}
BEHIND = (
    "In a causal decoder the picture's tokens cannot see an instruction that stands after them: there, equality is "
    "forced, and only an instruction before the picture tests anything."
)


def caption(figure: Figure, probe: Probe) -> str:
    """What the figure shows, with the settings that the reader needs."""
    match probe:
        case KnockoutProbe():
            return " ".join([CAPTIONS[figure.chart], *_of_knockout(figure, probe)])
        case LensProbe():
            reading = (
                "normed as the last layer's is"
                if probe.final_norm
                else "without the final norm, the last layer's with it"
            )
            return f"{CAPTIONS['lens']} Inner states are read {reading}; layer −1 is the embedding."
        case WordsProbe():
            return _of_words(probe)
        case PruningProbe():
            text = CAPTIONS["pruning"].format(
                f"up to {probe.questions} questions" if probe.questions else "all questions"
            )
            time = f" Time: on up to {probe.timed} questions a task, the fastest of three each." if probe.timed else ""
            return text + time
        case VisualLensProbe():
            return _of_visual_lens(figure, probe)
        case BudgetProbe() if "random" in probe.keep:
            return f"{CAPTIONS['budget']} Random tokens: the mean over {probe.draws} draws."
    if isinstance(figure, SimilarityChart):
        return _of_similarity(figure)
    if isinstance(figure, ExamplesChart):
        return EXAMPLES["attention" if isinstance(probe, AttentionMapProbe) else "places"]
    if isinstance(probe, PlacesProbe):
        return CAPTIONS["places"].format(f"{probe.grid} × {probe.grid}")
    return CAPTIONS[figure.chart]


def _of_knockout(figure: Figure, probe: KnockoutProbe) -> list[str]:
    parts = []
    if figure.chart == "atlas" and set(probe.edges) >= set(ALL_EDGES):
        parts.append("Every segment of the prompt to every later one.")
    if figure.chart != "windows":
        window = window_of(figure, probe)
        parts.append(f"Window: {window} layer{'s' if window > 1 else ''}.")
    if probe.token == "last":
        parts.append("The probability is that of the answer's last sub-word, the earlier ones given.")
    if probe.sinks is not None:
        rule = (
            f"above {probe.sinks.above:g}"
            if probe.sinks.above is not None
            else f"above the {100 * (probe.sinks.quantile or 0):g}th percentile of the task's patches"
        )
        parts.append(f"Sinks are the patches whose feature has a norm {rule}.")
    return parts


def _of_words(probe: WordsProbe) -> str:
    """Jaccard similarity, of what, with what knocked out."""
    layers = f"{probe.window} layer{'s' if probe.window > 1 else ''}"
    done = []
    if probe.modules:
        done.append(f"a module's output is zero at the question's positions in {layers} from each layer on")
    if probe.edges:
        done.append(f"the edge is knocked out in a window of {layers} around each layer")
    sets = "for the question as a whole" if probe.pooled else "position by position"
    return (
        f"Jaccard similarity of the {probe.top} words that each position of the question predicts at the last layer, "
        f"{sets}, to those of the intact model, when {' or '.join(done)}. {MEANS}"
    )


def _of_similarity(figure: SimilarityChart) -> str:
    """Which similarity, and what the bands are."""
    quantity = {
        "corrected": "Less that of tokens of unrelated questions, since all states point into a common direction.",
        "raw": "As it is, without a correction for the direction that all states have in common.",
        "unrelated": "Of tokens of unrelated questions: the direction that all states have in common.",
    }[figure.quantity]
    text = CAPTIONS["similarity"].format(quantity)
    if not figure.phases:
        return text
    return (
        f"{text} Grey and white bands: phases in which all three change steadily, as many as the curves support; "
        "darker: the 95 % interval of where one begins. As few phases are "
        "drawn as describe all of the curves' variance but a twentieth, and what sampling error explains."
    )


def _of_visual_lens(figure: Figure, probe: VisualLensProbe) -> str:
    if not isinstance(figure, VisualLensChart):
        return EXAMPLES["words"]
    text = f"{LENS[figure.quantity].format(probe.top)} {MEANS}"
    compared = len(probe.instructions) > 1 and figure.quantity != "names"
    return f"{text} {BEHIND}" if compared and "after" in probe.places else text
