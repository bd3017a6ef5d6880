"""The report's texts in Latvian, by the English ones."""

from bench.render.latvian_definitions import COLUMNS, METRICS

_UNITS = {
    **{unit: unit for unit in ("s", "ms", "%", "B", "MB", "J", "W")},
    "images/s": "attēli/s",
    "s/1000 images": "s/1000 attēli",
    "epochs": "epohas",
}
_NAMES = {
    "dataset": "datu kopa",
    "loader": "ielādētājs",
    "model": "modelis",
    "cache": "kešatmiņa",
    "runs": "izpildes",
    "remark": "piezīme",
    "flags": "brīdinājumi",
    "ratio": "attiecība",
    "verdict": "secinājums",
    "samples": "paraugi",
    "mean": "vidējais",
    "sd": "standartnovirze",
    "spread": "izkliede",
    "median": "mediāna",
    "detectable": "pamanāms",
    "saved": "ietaupīts",
    "break-even": "atmaksāšanās",
    "idiom": "lasīšanas veids",
    "prep stall": "sagatavošanas dīkstāve",
    "fetch stall": "izgūšanas dīkstāve",
    # Metrics.
    "epoch": "epoha",
    "fetch": "izgūšana",
    "transfer": "pārsūtīšana",
    "compute": "aprēķini",
    "other": "pārējais",
    "gap": "neuzskaitīts",
    "device copy": "kopēšana ierīcē",
    "device compute": "aprēķini ierīcē",
    "device idle": "ierīces dīkstāve",
    "device busy": "ierīces noslodze",
    "wait p50": "gaidīšana p50",
    "wait p95": "gaidīšana p95",
    "wait p99": "gaidīšana p99",
    "wait max": "gaidīšana maks.",
    "ceiling": "robeža",
    "epoch - ceiling": "epoha - robeža",
    "data stall": "datu dīkstāve",
    "AU": "AU",
    "loader rate": "ielādes ātrums",
    "plain idiom": "tiešā lasīšana",
    "efficiency": "efektivitāte",
    "open": "atvēršana",
    "first batch": "pirmā pakete",
    "close": "aizvēršana",
    "total": "kopā",
    "read": "nolasīts",
    "accuracy": "precizitāte",
    "macro-F1": "makro F1",
    "train loss": "apmācības zudums",
    "time to accuracy": "laiks līdz precizitātei",
    "prepare": "sagatavošana",
    "store": "krātuve",
    "on disk": "diskā",
    "per image": "uz attēlu",
    "memory": "atmiņa",
    "process": "process",
    "server": "serveris",
    "device memory": "ierīces atmiņa",
    "CPU": "CPU",
    "CPU process": "CPU, process",
    "CPU workers": "CPU, darba procesi",
    "CPU server": "CPU, serveris",
    "CPU ended": "CPU, beigušies",
    "energy": "enerģija",
    "GPU use": "GPU noslodze",
    "GPU power": "GPU jauda",
    "GPU peak power": "GPU lielākā jauda",
    "stopwatch": "laika uzņemšana",
    "others' load": "cita slodze",
    "stolen": "atņemts",
    # Settings.
    "batch size": "paketes izmērs",
    "image size": "attēla izmērs",
    "workers": "darba procesi",
    "threads": "pavedieni",
    "prefetch": "priekšielāde",
    "start method": "procesu palaišana",
    "learning rate": "mācīšanās ātrums",
    "momentum": "impulss",
    "weight decay": "svaru dilšana",
    "ceiling steps": "robežas soļi",
    "rate batches": "ātruma paketes",
    "channels last": "kanāli beigās",
    "mixed precision": "jaukta precizitāte",
    "deterministic": "determinēti",
    "label smoothing": "marķējumu izlīdzināšana",
    "compiled": "kompilēts",
    "CUDA graphs": "CUDA grafi",
    "batches in flight": "paketes ceļā",
    "batches": "paketes",
    "repetitions": "atkārtojumi",
}
_WORDS = {
    "warm": "silta",
    "cold": "auksta",
    "as-is": "kāda ir",
    "warm cache": "silta kešatmiņa",
    "cold cache": "auksta kešatmiņa",
    "cache as it is": "kešatmiņa, kāda tā ir",
    "baseline": "atskaite",
    "slower": "lēnāks",
    "faster": "ātrāks",
    "no difference found": "atšķirība nav atrasta",
    "too few runs": "par maz izpilžu",
    "agree": "sakrīt",
    "differ": "atšķiras",
    "never": "nekad",
    "failed": "neizdevās",
    "unavailable": "nav pieejams",
    "bench rate": "bench rate",
    "unknown machine": "nezināms dators",
    "{count} cores": "{count} kodoli",
    "{size} GB of RAM": "{size} GB RAM",
    "{name} (synthetic)": "{name} (sintētiska)",
    "{name} (not official)": "{name} (neoficiāla)",
    "{name}, short side {side}": "{name}, īsākā mala {side}",
    "{name} limit {limit}": "{name} ierobežojums {limit}",
    "< resolution ({half})": "< izšķirtspēja ({half})",
}
_PAGE = {
    "Results": "Rezultāti",
    "Made by `{command}` from the records beside this page.": "Sagatavots ar `{command}` no ierakstiem šīs lapas mapē.",
    "Made by `{command}`.": "Sagatavots ar `{command}`.",
    "Table": "Tabula",
    "continued": "turpinājums",
}
_TITLES = {
    "Epoch time": "Epohas laiks",
    "Stages of the epoch": "Epohas posmi",
    "Cold against warm": "Auksta un silta kešatmiņa",
    "Loader rate": "Ielādes ātrums",
    "Loader rate within training runs": "Ielādes ātrums apmācības izpildēs",
    "Preparation, size and break-even": "Sagatavošana, apjoms un atmaksāšanās",
    "Memory, CPU and energy": "Atmiņa, CPU un enerģija",
    "Opening, waiting and learning": "Atvēršana, gaidīšana un mācīšanās",
    "Statistics and flags": "Statistika un brīdinājumi",
    "Mean epoch time of each loader, with its 95% t interval over runs.": (
        "Katra ielādētāja vidējais epohas laiks ar 95 % t intervālu pa izpildēm."
    ),
    "Parts of the epoch on the host's clock, means over runs; they add up to the epoch.": (
        "Epohas posmi pēc resursdatora pulksteņa, vidējie pa izpildēm; kopā tie veido epohu."
    ),
    "Means over runs with 95% intervals; stalls are paired by round.": (
        "Vidējie pa izpildēm ar 95 % intervāliem; dīkstāves sapārotas pa kārtām."
    ),
    "Batches drawn and consumed byte for byte without training, by bench rate; means over runs with 95% intervals.": (
        "Paketes, kas izgūtas un nolasītas līdz pēdējam baitam bez apmācības ar bench rate; vidējie pa izpildēm ar "
        "95 % intervāliem."
    ),
    "Batches drawn and consumed byte for byte after the last epoch, over the runs of all models and cache states; "
    "means over runs with 95% intervals.": (
        "Paketes, kas izgūtas un nolasītas līdz pēdējam baitam pēc pēdējās epohas, visu modeļu un kešatmiņas stāvokļu "
        "izpildēs; vidējie pa izpildēm ar 95 % intervāliem."
    ),
    "Preparation and size of the stores, and the epochs after which the time saved has paid for the preparation. A "
    "store that several runs read was prepared once.": (
        "Krātuvju sagatavošana un apjoms, un epohu skaits, pēc kura ietaupītais laiks atsver sagatavošanu. Krātuve, ko "
        "lasa vairākas izpildes, sagatavota vienu reizi."
    ),
    "Peak memory, CPU time and energy by group of processes, means over runs.": (
        "Lielākais atmiņas patēriņš, CPU laiks un enerģija pa procesu grupām, vidējie pa izpildēm."
    ),
    "Opening, waiting for batches, and learning, means over runs.": (
        "Atvēršana, pakešu gaidīšana un mācīšanās, vidējie pa izpildēm."
    ),
    "Spread over runs ({quantity}), and what is to be said against them.": (
        "Izkliede pa izpildēm ({quantity}) un iebildumi pret tām."
    ),
}
_NOTES = {
    "all rows": "visas rindas",
    "cache not verified": "kešatmiņas stāvoklis nav pierādīts",
    "cache not verified in {count} of {total} runs": ("kešatmiņas stāvoklis nav pierādīts {count} no {total} izpildēm"),
    "{count} of {total} runs failed": "neizdevās {count} no {total} izpildēm",
    "throttled in {count} of {total} runs": "ierīces takts samazināta {count} no {total} izpildēm",
    "NVML told nothing, or nothing more, in {count} of {total} runs": (
        "NVML neko vai neko vairāk nevēstīja {count} no {total} izpildēm"
    ),
    "energy is by the device's own counter": "enerģija pēc ierīces pašas skaitītāja",
    "energy is the power that NVML sampled, over time": "enerģija ir NVML mērītā jauda pa laiku",
    "energy is by the device's own counter, and where that failed the power that NVML sampled, over time": (
        "enerģija pēc ierīces pašas skaitītāja, un kur tas neizdevās, NVML mērītā jauda pa laiku"
    ),
    "not deterministic: between loaders the last training loss of one round differs by up to {worst}%: {task}": (
        "nav determinēti: starp ielādētājiem vienas kārtas pēdējais apmācības zudums atšķiras līdz {worst} %: {task}"
    ),
    "deterministic, and yet between loaders the last training loss of one round differs by up to {worst}%: {task}": (
        "determinēti, tomēr starp ielādētājiem vienas kārtas pēdējais apmācības zudums atšķiras līdz {worst} %: {task}"
    ),
    "fewer than {limit} runs": "mazāk nekā {limit} izpildes",
    "spread of {spread}%": "izkliede {spread} %",
    "samples differ between loaders": "ielādētāju paraugi atšķiras",
    "loss not finite in {count} of {total} runs": "zudums nav galīgs skaitlis {count} no {total} izpildēm",
    "up to {worst}% of an epoch in no part, in {count} of {total} runs": (
        "līdz {worst} % epohas nav nevienā posmā, {count} no {total} izpildēm"
    ),
    "timing took up to {worst}% of an epoch, in {count} of {total} runs": (
        "laika uzņemšana aizņēma līdz {worst} % epohas, {count} no {total} izpildēm"
    ),
    "others used up to {worst}% of the cores, in {count} of {total} runs": (
        "citi izmantoja līdz {worst} % kodolu laika, {count} no {total} izpildēm"
    ),
    "the hypervisor kept up to {worst}% of the cores, in {count} of {total} runs": (
        "hipervizors atņēma līdz {worst} % kodolu laika, {count} no {total} izpildēm"
    ),
    "flagged; the table of statistics says why": "ir brīdinājums; iemesls minēts statistikas tabulā",
    "samples differ, so these rows do not compare; by their sha256: {names}": (
        "paraugi atšķiras, tāpēc šīs rindas nav salīdzināmas; pēc to sha256: {names}"
    ),
    "{count} comparisons; each would most likely (95%) have found a slowdown of {low}% to {high}%, by its runs": (
        "{count} salīdzinājumi; katrs pēc savām izpildēm visdrīzāk (95 %) būtu atradis palēninājumu no {low} % līdz "
        "{high} %"
    ),
    "no run of {baseline} to compare with: {names}": "nav {baseline} izpildes, ar ko salīdzināt: {names}",
    "ceiling above the epoch by up to {worst}%, in {count} of {total} runs": (
        "robeža līdz {worst} % virs epohas, {count} no {total} izpildēm"
    ),
    "clipped at 0 in {count} of {total} runs: {name}": "apcirsts pie 0 {count} no {total} izpildēm: {name}",
    "{stall} clipped at 0, from {value} s: {name}": "{stall} apcirsta pie 0, bija {value} s: {name}",
    "time to accuracy: {targets}": "laiks līdz precizitātei: {targets}",
    "these records were made by {count} commits: {list}": "šie ieraksti radīti ar {count} koda versijām: {list}",
    "the tree had changes that were not committed, at {list}": ("kodā bija versijā neiekļautas izmaiņas: {list}"),
    "the machine's RAM was not always the same: {list} GB": "mašīnas RAM ne vienmēr bija vienāda: {list} GB",
    "{count} records are superseded by another record of the same run": (
        "{count} ierakstus aizstāj cits tās pašas izpildes ieraksts"
    ),
    "{count} different environments are mixed here: {list}": "šeit sajauktas {count} dažādas vides: {list}",
}
_AGAINST = {
    "{b} against {a}": "{b} pret {a}",
    "A is {a}, B is {b}; means over runs with 95% intervals. A ratio above 1: B is slower.": (
        "A ir {a}, B ir {b}; vidējie pa izpildēm ar 95 % intervāliem. Attiecība virs 1: B ir lēnāks."
    ),
    "time, B/A": "laiks, B/A",
    "ratio of the two means, not paired, with its 95% interval by Fieller's method": (
        "abu vidējo attiecība, bez pārošanas, ar 95 % intervālu pēc Fīlera metodes"
    ),
    "of Welch's t test of the two means, Holm-corrected over this table": (
        "abu vidējo Velča t testā, ar Holma korekciju visai tabulai"
    ),
    "what B is, where the corrected p is at most {alpha}": "kāds ir B, ja koriģētais p nepārsniedz {alpha}",
    "whether both sides trained on the same bytes in the same order, by their sha256": (
        "vai abas puses pēc sha256 mācījās no tiem pašiem baitiem tajā pašā secībā"
    ),
    "far more runs on one side than on the other, so that the test alarms too often: {names}": (
        "vienā pusē ir daudz vairāk izpilžu nekā otrā, tāpēc tests pārāk bieži ceļ trauksmi: {names}"
    ),
    "only in {side}, or not the same work: {names}": "tikai {side}, vai arī darbs nav tas pats: {names}",
    "{name}: {a} in A, {b} in B": "{name}: {a} pie A, {b} pie B",
}

LATVIAN: dict[str, str] = {**_UNITS, **_NAMES, **_WORDS, **_PAGE, **_TITLES, **_NOTES, **_AGAINST, **METRICS, **COLUMNS}
