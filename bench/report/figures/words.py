"""The figures' own texts in Latvian; what tables say too, they say in the same words."""

from __future__ import annotations

from bench.render.latvian import LATVIAN as SHARED
from bench.render.table import Language

LATVIAN: dict[str, str] = {
    # Axes and legends.
    "compute ceiling": "aprēķinu robeža",
    "time of an epoch, s": "epohas laiks, s",
    "not run": "nav izpildīts",
    "run": "izpilde",
    "mean with 95% interval": "vidējais ar 95 % intervālu",
    "mean of the baseline": "atskaites vidējais",
    "its plain idiom": "formāta tiešā lasīšana",
    "asked for by the compute ceiling": "aprēķinu robežas vajadzība",
    "images/s without training": "attēli/s bez apmācības",
    "training loss": "apmācības zudums",
    "test accuracy": "testa precizitāte",
    "training time, s": "apmācības laiks, s",
    "the same for all loaders": "visiem ielādētājiem vienādi",
    "preparation and training, s": "sagatavošana un apmācība, s",
    "difference from the baseline": "starpība pret atskaiti",
    "as much as the baseline": "tikpat, cik atskaitei",
    "store, kB per image": "krātuve, kB uz attēlu",
    "size of the bare pixels": "pikseļu apjoms",
    # Titles and captions.
    "Stages of an epoch": "Epohas posmi",
    "Where the host's time goes in an epoch, by loader; means over the runs. The line is the compute ceiling: the same "
    "steps on batches that lie on the device already.": (
        "Kam epohā tiek resursdatora laiks, pa ielādētājiem; vidējie pa izpildēm. Līnija ir aprēķinu robeža: tie paši "
        "soļi ar paketēm, kas jau ir ierīcē."
    ),
    "The lower bar is by the device's own clock, which overlaps with the host's.": (
        "Apakšējā josla ir pēc ierīces pašas pulksteņa, kas pārklājas ar resursdatora laiku."
    ),
    "no run has the stages of its epochs": "nevienai izpildei nav epohas posmu",
    "Time of an epoch": "Epohas laiks",
    "Time of a training epoch by loader: every run, and their mean with its 95% t interval. The dashed line is the "
    "baseline's mean.": (
        "Apmācības epohas laiks pa ielādētājiem: katra izpilde un vidējais ar 95 % t intervālu. Pārtrauktā līnija ir "
        "atskaites vidējais."
    ),
    "no run has the time of its epochs": "nevienai izpildei nav epohas laika",
    "Loader rates": "Ielādes ātrumi",
    "Images per second without training, and of the format's plain idiom; the dashed line is what training would take "
    "if its data cost nothing. At the right, loader over plain idiom. Means over the runs.": (
        "Attēli sekundē bez apmācības un formāta tiešajā lasīšanā; pārtrauktā līnija ir tas, ko patērētu apmācība, ja "
        "dati neko nemaksātu. Pa labi ielādes ātruma attiecība pret tiešo lasīšanu. Vidējie pa izpildēm."
    ),
    "no run measured the loader without training": "nevienā izpildē ielādētājs nav mērīts bez apmācības",
    "Scaling": "Mērogošana",
    "Speed of each loader over a setting; means over the runs with their 95% intervals.": (
        "Katra ielādētāja ātrums atkarībā no iestatījuma; vidējie pa izpildēm ar 95 % intervāliem."
    ),
    "no loader ran with several numbers of workers or several batch sizes": (
        "neviens ielādētājs nav izpildīts ar vairākiem darba procesu skaitiem vai pakešu izmēriem"
    ),
    "Learning": "Mācīšanās",
    "Training loss and test accuracy after each epoch, over epochs and over the seconds of training. Thin lines are "
    "runs, thick ones their means.": (
        "Apmācības zudums un testa precizitāte pēc katras epohas, pa epohām un pa apmācības sekundēm. Tievās līnijas "
        "ir izpildes, biezās to vidējie."
    ),
    "no run has more than one epoch": "nevienai izpildei nav vairāk par vienu epohu",
    "Break-even": "Atmaksāšanās",
    "Preparation and training of each loader over the number of epochs, beside the baseline, whose preparation does "
    "not count; at the right, the difference between the two. Circles mark where the time saved has paid for the "
    "preparation.": (
        "Katra ielādētāja sagatavošana un apmācība atkarībā no epohu skaita blakus atskaitei, kuras sagatavošana "
        "netiek skaitīta; pa labi abu starpība. Aplīši rāda, kur ietaupītais laiks atsvēris sagatavošanu."
    ),
    "there is no baseline, or no loader beside it with a time of preparation": (
        "nav atskaites, vai blakus tai nav ielādētāja ar sagatavošanas laiku"
    ),
    "Size and speed": "Apjoms un ātrums",
    "Speed of training against the size of the store, by loader; means over the runs. The dotted line is the size "
    "of the bare pixels.": (
        "Apmācības ātrums pret krātuves apjomu, pa ielādētājiem; vidējie pa izpildēm. Punktētā līnija ir pikseļu "
        "apjoms."
    ),
    "no run has both the size of its store and its speed": "nevienai izpildei nav gan krātuves apjoma, gan ātruma",
    "no run ended well": "neviena izpilde nav izdevusies",
    "shown in the figures of scaling alone": "parādīts tikai mērogošanas attēlos",
    "the state of the cache is not verified in every run": "kešatmiņas stāvoklis nav pierādīts visās izpildēs",
    "{title}. Panels: {panels}. Loaders: {loaders}. The tables have the numbers.": (
        "{title}. Paneļi: {panels}. Ielādētāji: {loaders}. Skaitļi ir tabulās."
    ),
}
"""By the English text."""
_ALL = SHARED | LATVIAN


def say(text: str, language: Language, **values: object) -> str:
    """The text in a language, its ``{names}`` filled in.

    Raises:
        KeyError: it has no translation.
    """
    chosen = text if language == "en" else _ALL[text]
    return chosen.format(**values) if values else chosen
