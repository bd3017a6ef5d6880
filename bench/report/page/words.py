"""The page's own texts, in English and Latvian; those of tables and figures come with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.render.language import Language, number
from bench.render.table import Column, Value
from bench.render.text import cell
from bench.stats.intervals import Interval

TEXTS: dict[str, tuple[str, str]] = {
    # the page
    "title": ("What each storage format costs in training", "Cik apmācībā maksā katrs datu glabāšanas formāts"),
    "lede": (
        "{runs} runs of {loaders} loaders on {datasets} datasets, {first} to {last}. Every number leads to the records "
        "of the runs that it comes from, at the end of this page.",
        "Izpildes: {runs}, ielādētāji: {loaders}, datu kopas: {datasets}, laikā no {first} līdz {last}. Katrs skaitlis "
        "ved pie to izpilžu ierakstiem, no kurām tas iegūts; tie ir šīs lapas beigās.",
    ),
    "skip": ("Skip to the content", "Pāriet pie satura"),
    "skip_table": ("Skip this table", "Izlaist šo tabulu"),
    "contents": ("Contents", "Saturs"),
    "made": ("Made from the records by", "Izveidots no ierakstiem ar"),
    "scripts": ("Sorting and filtering need JavaScript.", "Kārtošanai un atlasei vajag JavaScript."),
    # its sections
    "recommendation": ("Recommendation", "Ieteikums"),
    "subject": ("What was measured, and on what", "Kas mērīts un uz kā"),
    "tables": ("Tables", "Tabulas"),
    "figures": ("Figures", "Attēli"),
    "gradients": ("Gradients", "Gradienti"),
    "definitions": ("Definitions", "Definīcijas"),
    "records": ("Records", "Ieraksti"),
    "sets": ("Runs behind each number", "Izpildes aiz katra skaitļa"),
    "sets_why": (
        "A number that rests on several runs leads here, and from here to each of their records.",
        "Skaitlis, kas balstās uz vairākām izpildēm, ved šurp un no šejienes pie katra to ieraksta.",
    ),
    "foreign": ("Files that were left out", "Izlaistās datnes"),
    "behind": ("The runs behind this", "Izpildes, uz kurām tas balstās"),
    "more": ("{count} further recommendations", "Vēl ieteikumi: {count}"),
    # what script says
    "search": ("Filter rows", "Atlasīt rindas"),
    "all": ("all", "visi"),
    "filter": ("Filter of the table {table}", "Tabulas {table} atlase"),
    "shown": ("{shown} of {all} rows", "{shown} no {all} rindām"),
    "ascending": (", by {column}, ascending", ", pēc {column}, augoši"),
    "descending": (", by {column}, descending", ", pēc {column}, dilstoši"),
    # what was measured
    "fact_processor": ("Processor", "Procesors"),
    "fact_memory": ("Memory", "Atmiņa"),
    "fact_gpu": ("Accelerator", "Paātrinātājs"),
    "fact_storage": ("Storage", "Datu nesējs"),
    "fact_system": ("System", "Sistēma"),
    "fact_software": ("Software", "Programmatūra"),
    "fact_threads": ("Threads of PyTorch", "PyTorch pavedieni"),
    "fact_datasets": ("Datasets", "Datu kopas"),
    "fact_training": ("Training", "Apmācība"),
    "fact_runs": ("Runs", "Izpildes"),
    "fact_cache": ("Page cache", "Lappušu kešatmiņa"),
    "fact_measured": ("Measured", "Mērīts"),
    "fact_load": ("Load average before runs", "Vidējā slodze pirms izpildēm"),
    "fact_commit": ("Commit of the harness", "Mērītāja revīzija"),
    "cores": ("{cores} cores", "kodoli: {cores}"),
    "cores_used": ("{cores} cores, of which {used} used", "kodoli: {cores}, no tiem lietoti {used}"),
    "virtual": ("virtual machine", "virtuālā mašīna"),
    "not_virtual": ("no virtual machine", "nav virtuālā mašīna"),
    "dataset": (
        "{name} ({kind}): {train} training and {test} test images of {shape}, {classes} classes",
        "{name} ({kind}): {train} apmācības un {test} testa attēli, {shape}, klases: {classes}",
    ),
    "many_sizes": ("many sizes", "dažādi izmēri"),
    "official": ("official files", "oficiālās datnes"),
    "not_official": ("not the official files", "nav oficiālās datnes"),
    "synthetic": ("synthetic twin", "sintētisks dvīnis"),
    "training": ("{model}, {epochs} epochs, batches of {batch}", "{model}, epohas: {epochs}, paketes izmērs: {batch}"),
    "runs_ok": ("{count} ended well", "izdevās {count}"),
    "runs_failed": ("{count} failed", "neizdevās {count}"),
    "runs_unavailable": ("{count} could not run here", "šeit nav iespējamas {count}"),
    "rounds": ("{count} rounds", "kārtas: {count}"),
    "cache": (
        "{state}: shown for {shown} of {wished} runs",
        "{state}: apliecināts {shown} no {wished} izpildēm",
    ),
    "dates": ("{first} to {last}", "{first} līdz {last}"),
    "load": ("{low} to {high}", "{low} līdz {high}"),
    "clean": ("clean tree", "bez nesaglabātām izmaiņām"),
    "changed": ("tree with uncommitted changes", "ar nesaglabātām izmaiņām"),
    # recommendations
    "no_pick": ("None can be named", "Nevienu nevar nosaukt"),
    "or": (" or ", " vai "),
    "and": (" and ", " un "),
    "from_epochs": ("For {count} epochs or more on this machine", "No {count} epohām šajā datorā"),
    "any_epochs": ("For any number of epochs on this machine", "Jebkuram epohu skaitam šajā datorā"),
    "machine": ("On this machine", "Šajā datorā"),
    "epoch_s": ("an epoch of {loader} takes {time}", "{loader} epoha ilgst {time}"),
    "total_s": (
        "a cold epoch of {loader}, with the opening before it, takes {time}",
        "{loader} auksta epoha kopā ar atvēršanu pirms tās ilgst {time}",
    ),
    "times": (
        "{ratio} times {baseline}'s (95% interval {low} to {high})",
        "{ratio} reizes {baseline} laika (95 % intervāls no {low} līdz {high})",
    ),
    "winner": (
        "{epochs}: {best}, since {cost}, and every other loader compared was found slower.",
        "{epochs}: {best}, jo {cost}, un visi pārējie salīdzinātie ielādētāji izrādījās lēnāki.",
    ),
    "several": (
        "{epochs}: {best}, since {cost}, and between {left} no difference was found{limit}.",
        "{epochs}: {best}, jo {cost}, un starp {left} atšķirība nav atrasta{limit}.",
    ),
    "limit": (
        ", where a difference of {percent}% would most likely have been found",
        ", kaut gan {percent} % atšķirība visticamāk būtu atrasta",
    ),
    "baseline": (
        "{epochs}: {best}, since {cost}, and no loader was found faster{limit}.",
        "{epochs}: {best}, jo {cost}, un neviens ielādētājs neizrādījās ātrāks{limit}.",
    ),
    "no_need": (
        "Nothing shows that converting the images would pay.",
        "Nekas neliecina, ka attēlu pārveidošana atmaksātos.",
    ),
    "pays": (
        "Converting the images for {first} takes {time} and pays from {count} epochs on; "
        "for fewer, {baseline} is done sooner.",
        "Attēlu pārveidošana priekš {first} ilgst {time} un atmaksājas no {count} epohām; "
        "ja to ir mazāk, ātrāk galā tiek {baseline}.",
    ),
    "pays_at_once": (
        "Converting the images for {first} takes {time} and pays from the first epoch on.",
        "Attēlu pārveidošana priekš {first} ilgst {time} un atmaksājas jau pirmajā epohā.",
    ),
    "pays_unknown": (
        "From how many epochs on converting pays is not known, since {missing}.",
        "No cik epohām pārveidošana atmaksājas, nav zināms, jo {missing}.",
    ),
    "no_baseline": ("the baseline {name} gave no result", "bāzei {name} nav rezultāta"),
    "no_prepare": ("no record tells how long it takes", "neviens ieraksts nesaka, cik ilgi tā notiek"),
    "no_saving": ("its mean epoch is not the shorter one", "tā vidējā epoha nav īsāka"),
    "too few runs": (
        "No loader is recommended: that takes {needed} rounds or more to compare, and there were {rounds} at most.",
        "Neviens ielādētājs netiek ieteikts: salīdzinājumam vajag vismaz {needed} kārtas, bet bija ne vairāk kā "
        "{rounds}.",
    ),
    "samples differ": (
        "No loader is recommended: they did not train on the same samples, so that their times do not compare.",
        "Neviens ielādētājs netiek ieteikts: tie nemācījās no tiem pašiem paraugiem, tāpēc to laiki nav salīdzināmi.",
    ),
    "samples_differ_by": ("Samples by their sha256: {samples}.", "Paraugi pēc to sha256: {samples}."),
    "by_mean": (
        "By its mean {best} was the fastest, since {cost}; that may be chance.",
        "Pēc vidējā ātrākais bija {best}, jo {cost}; tā var būt nejaušība.",
    ),
    "alone": (
        "Only {best} gave a result, so that there is nothing to compare it with.",
        "Rezultāts ir tikai {best}, tādēļ nav ar ko salīdzināt.",
    ),
    "alone_cost": ("In the mean, {cost}.", "Vidēji {cost}."),
    "nothing": ("No loader gave a result.", "Nevienam ielādētājam nav rezultāta."),
    "nothing_why": (
        "The table says why for each of them.",
        "Tabulā par katru no tiem ir teikts, kāpēc.",
    ),
    "basis": (
        "{rounds} rounds; {pairs} pairs compared, Holm-corrected.",
        "Kārtas: {rounds}; salīdzināti pāri: {pairs}, ar Holma labojumu.",
    ),
    "untested": ("Too few runs to compare: {list}.", "Par maz izpilžu salīdzinājumam: {list}."),
    "unverified": (
        "In {count} of {total} runs nothing shows the state of the cache.",
        "{count} no {total} izpildēm nekas neapliecina kešatmiņas stāvokli.",
    ),
    "lost": ("No result: {list}.", "Nav rezultāta: {list}."),
    # gradients
    "gradients_why": (
        "The hand-written gradients of the theory chapter, held against automatic differentiation.",
        "Teorijas nodaļas ar roku rakstītie gradienti, salīdzināti ar automātisko diferencēšanu.",
    ),
    "gradients_audit": ("Gradients as written", "Gradienti, kā tie uzrakstīti"),
    "gradients_audit_caption": (
        "Every gradient with its verdict, and its worst relative error over all cases: against autograd in float64, "
        "against central differences, and against autograd in float32.",
        "Katrs gradients ar secinājumu un sliktāko relatīvo kļūdu no visiem gadījumiem: pret autograd ar float64, pret "
        "centrālajām diferencēm un pret autograd ar float32.",
    ),
    "gradients_parity": ("Models trained on both sides", "Abās pusēs apmācītie modeļi"),
    "gradients_parity_caption": (
        "The same models trained by the hand-written gradients and by autograd: the worst relative distance of any "
        "parameter after any step.",
        "Tie paši modeļi, apmācīti ar roku rakstītajiem gradientiem un ar autograd: jebkura parametra sliktākais "
        "relatīvais attālums pēc jebkura soļa.",
    ),
    "gradients_claims": ("Claims", "Apgalvojumi"),
    "gradients_claims_caption": (
        "What the notes claim, held against computations.",
        "Pierakstu apgalvojumi, salīdzināti ar aprēķiniem.",
    ),
}


class Words:
    """The texts of one language.

    Attributes:
        language: "en" or "lv".
    """

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._place = ("en", "lv").index(language)

    def __getitem__(self, key: str) -> str:
        """A text that needs nothing filled in, or has it filled in by the script."""
        return TEXTS[key][self._place]

    def fill(self, key: str, **values: Any) -> str:
        """A text with its ``{names}`` filled in; whole numbers are written in the language's way."""
        shown = {name: number(v, ",d", self.language) if isinstance(v, int) else v for name, v in values.items()}
        return self[key].format(**shown)

    def seconds(self, interval: Interval) -> str:
        """A mean to three significant digits, with its interval to as many decimals."""
        decimals = next((places for limit, places in ((100, 0), (10, 1), (1, 2)) if abs(interval.mean) >= limit), 3)
        column = Column("", "", format=f",.{decimals}f", spread="half")
        value = Value(interval.mean, interval.low, interval.high)
        return f"{cell(value, column, self.language)}\N{NO-BREAK SPACE}s"

    def number(self, value: float, format_: str) -> str:
        """A number in the language's way."""
        return number(value, format_, self.language)

    def listed(self, items: Sequence[str], last: str) -> str:
        """``a, b or c``; ``last`` is the text "or" or "and"."""
        return self[last].join(part for part in (", ".join(items[:-1]), items[-1]) if part)
