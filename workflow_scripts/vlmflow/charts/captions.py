"""What figures show, in words."""

from vlmflow.edges import ALL_EDGES
from vlmflow.study import Figure, KnockoutProbe, LensProbe, Probe, PruningProbe, WordsProbe

from .drawing import window_of

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
}


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
