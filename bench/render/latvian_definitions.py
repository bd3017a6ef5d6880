"""The definitions below the report's tables in Latvian, by the English ones."""

_PSS = "lielākā proporcionālo kopu apjomu summa (PSS: n procesu kopīga lappuse katrā skaitās 1/n)"
_PSS_EN = "peak of the summed proportional set sizes (PSS: a page shared by n processes counts 1/n in each)"
_CPU = "apmācības epohu CPU sekundes uz 1000 attēliem"
_CPU_EN = "CPU seconds of the training epochs per 1000 images"
_WAIT = "katras paketes gaidīšanas laikam; vidējais pa epohām"
_WAIT_EN = "of the seconds that each batch was waited for; mean over epochs"
_MEANS = ", kā abu vidējo attiecība"
_MEANS_EN = ", as the ratio of their means over runs"

METRICS = {
    "wall time of one training epoch, from the first request of a batch to the final device synchronise; evaluation "
    "outside; mean over the run's epochs": (
        "vienas apmācības epohas reālais laiks no pirmās paketes pieprasījuma līdz ierīces beigu sinhronizācijai, bez "
        "novērtēšanas; vidējais pa izpildes epohām"
    ),
    f"training images of an epoch over the epoch{_MEANS_EN}": f"epohas apmācības attēli pret epohas laiku{_MEANS}",
    "host blocked on the next batch, per epoch": "laiks, ko resursdators gaida nākamo paketi, epohā",
    "host issuing the copy to the device or waiting for it, per epoch": (
        "laiks, kurā resursdators sāk kopēšanu uz ierīci vai to gaida, epohā"
    ),
    "host issuing forward, backward and step or waiting for them, per epoch": (
        "laiks, kurā resursdators sāk tiešo gājienu, atpakaļgājienu un soli vai tos gaida, epohā"
    ),
    "the rest of the training loop, timed too, per epoch": "pārējais apmācības cikls, arī izmērīts, epohā",
    "share of the wall time that is in none of the four parts; the epoch where it is largest": (
        "reālā laika daļa, kas nav nevienā no četriem posmiem; epohā, kurā tā ir lielākā"
    ),
    f"fetch over epoch{_MEANS_EN}": f"izgūšana pret epohu{_MEANS}",
    "copying on the device's own clock (CUDA events), per epoch; overlaps with computing and the host's parts": (
        "kopēšana pēc ierīces pulksteņa (CUDA notikumi), epohā; pārklājas ar aprēķiniem un resursdatora posmiem"
    ),
    "computing on the device's own clock (CUDA events), per epoch, each step from beginning to end: gaps "
    "between its launches count, and are few where CUDA graphs replay it; overlaps with the host's parts": (
        "aprēķini pēc ierīces pulksteņa (CUDA notikumi), epohā, katrs solis no sākuma līdz beigām: spraugas "
        "starp tā palaišanām ir ieskaitītas, un to ir maz, ja soli atkārto CUDA grafs; "
        "pārklājas ar resursdatora posmiem"
    ),
    "time in which the device's computing queue was at no step and no batch (CUDA events), per epoch": (
        "laiks, kurā ierīces aprēķinu rindā nebija ne soļa, ne paketes (CUDA notikumi), epohā"
    ),
    f"device compute over epoch{_MEANS_EN}": f"ierīces aprēķini pret epohu{_MEANS}",
    f"median {_WAIT_EN}": f"mediāna {_WAIT}",
    f"95% quantile {_WAIT_EN}": f"95 % kvantile {_WAIT}",
    f"99% quantile {_WAIT_EN}": f"99 % kvantile {_WAIT}",
    f"largest {_WAIT_EN}": f"lielākā vērtība {_WAIT}",
    "the same steps on batches that lie on the device already, in the same process, scaled to the epoch": (
        "tie paši soļi ar paketēm, kas jau ir ierīcē, tajā pašā procesā, pārrēķināti uz epohu"
    ),
    'epoch less ceiling, not clipped; "< resolution" where its 95% interval holds 0': (
        'epoha mīnus robeža, neapcirsta; "< izšķirtspēja", ja tās 95 % intervāls ietver 0'
    ),
    "on CUDA epoch less ceiling, clipped at 0; on the CPU, where data and compute share the cores, fetch + transfer": (
        "ar CUDA epoha mīnus robeža, apcirsta pie 0; ar CPU, kur dati un aprēķini dala kodolus, izgūšana + pārsūtīšana"
    ),
    f"data stall over epoch{_MEANS_EN}": f"datu dīkstāve pret epohu{_MEANS}",
    f"accelerator utilisation: ceiling over epoch{_MEANS_EN}": f"paātrinātāja izmantojums: robeža pret epohu{_MEANS}",
    "batches drawn and consumed byte for byte, no training; median of the run's repetitions": (
        "paketes izgūtas un nolasītas līdz pēdējam baitam, bez apmācības; izpildes atkārtojumu mediāna"
    ),
    "the format's fastest plain idiom on the same batches in the same process; median of the repetitions": (
        "formāta ātrākais tiešās lasīšanas veids tām pašām paketēm tajā pašā procesā; atkārtojumu mediāna"
    ),
    f"loader rate over plain idiom{_MEANS_EN}; with its 95% interval by Fieller's method": (
        f"ielādes ātrums pret tiešo lasīšanu{_MEANS}; ar 95 % intervālu pēc Fīlera metodes"
    ),
    "opening the store, apart from the epoch; mean over the openings of a cold run": (
        "krātuves atvēršana, ārpus epohas; aukstai izpildei vidējais pa atvēršanām"
    ),
    "the first batch after opening, apart from the epoch; mean over the openings of a cold run": (
        "pirmā pakete pēc atvēršanas, ārpus epohas; aukstai izpildei vidējais pa atvēršanām"
    ),
    "closing the store after the last epoch": "krātuves aizvēršana pēc pēdējās epohas",
    "open + first batch + epoch": "atvēršana + pirmā pakete + epoha",
    "bytes that all processes of the run had read from storage, per epoch; page cache hits not counted": (
        "baiti, ko visi izpildes procesi nolasīja no datu nesēja, epohā; lappušu kešatmiņā atrastie nav skaitīti"
    ),
    "test accuracy after the last epoch": "testa precizitāte pēc pēdējās epohas",
    "unweighted mean over the classes of the test F1 after the last epoch": (
        "testa F1 nesvērtais vidējais pa klasēm pēc pēdējās epohas"
    ),
    "mean cross-entropy of the last epoch's training images": ("pēdējās epohas apmācības attēlu vidējā krustentropija"),
    "writing the store from the dataset's official files, durably": (
        "krātuves izveide no datu kopas oficiālajiem failiem, ar drošu ierakstīšanu diskā"
    ),
    "sum of the store's file sizes": "krātuves failu izmēru summa",
    "what the file system sets aside for the store": "vieta, ko failu sistēma atvēl krātuvei",
    "store size over the images of both splits": "krātuves apjoms pret abu daļu attēlu skaitu",
    f"{_PSS_EN} of the process, its workers and an embedded server": (
        f"{_PSS}: process, tā darba procesi un iegultais serveris"
    ),
    f"{_PSS_EN} of the training process": f"{_PSS}: apmācības process",
    f"{_PSS_EN} of the worker processes": f"{_PSS}: darba procesi",
    f"{_PSS_EN} of an embedded server": f"{_PSS}: iegultais serveris",
    "most bytes that PyTorch had allocated on the device": "lielākais apjoms, ko PyTorch bija iedalījis ierīcē",
    f"{_CPU_EN}, of all processes": f"{_CPU}, visi procesi",
    f"{_CPU_EN}, of the training process": f"{_CPU}, apmācības process",
    f"{_CPU_EN}, of the worker processes": f"{_CPU}, darba procesi",
    f"{_CPU_EN}, of an embedded server": f"{_CPU}, iegultais serveris",
    f"{_CPU_EN}, of processes that ended meanwhile": f"{_CPU}, procesi, kas pa to laiku beigušies",
    "what the device used in all training epochs (NVML) over their number, by its counter or from sampled "
    "power, as the notes say": (
        "ierīces patēriņš visās apmācības epohās (NVML), dalīts ar to skaitu, pēc tās skaitītāja vai jaudas "
        "mērījumiem, kā teikts piezīmēs"
    ),
    "the device's utilisation as NVML tells it, evaluation included": (
        "ierīces noslodze pēc NVML datiem, ieskaitot novērtēšanu"
    ),
    "the device's mean power over time as NVML tells it, evaluation included": (
        "ierīces vidējā jauda laikā pēc NVML datiem, ieskaitot novērtēšanu"
    ),
    "the highest power that NVML told of the device, evaluation included": (
        "lielākā ierīces jauda pēc NVML datiem, ieskaitot novērtēšanu"
    ),
    "what timing an epoch costs, measured on empty steps in the same process, over the epoch": (
        "epohas laika uzņemšanas izmaksas, izmērītas ar tukšiem soļiem tajā pašā procesā, pret epohu"
    ),
    "share of the epochs' core-seconds that the machine spent on anything but this run": (
        "epohu kodolsekunžu daļa, ko dators patērēja kam citam, nevis šai izpildei"
    ),
    "share of the epochs' core-seconds that a hypervisor kept from the machine": (
        "epohu kodolsekunžu daļa, ko datoram atņēma hipervizors"
    ),
    "training time, evaluation left out, until the test accuracy first reaches the target": (
        "apmācības laiks bez novērtēšanas, līdz testa precizitāte pirmoreiz sasniedz mērķi"
    ),
}
COLUMNS = {
    "runs that ended well": "sekmīgi pabeigtās izpildes",
    "runs that have a rate": "izpildes, kurās ātrums ir izmērīts",
    "module of the plain idiom": "tiešās lasīšanas modulis",
    "mean epoch over the baseline's, paired by round, with the 95% interval of this row alone by Fieller's method": (
        "vidējā epoha pret atskaites vidējo, sapārota pa kārtām, ar šīs rindas 95 % intervālu pēc Fīlera metodes"
    ),
    "of the paired t test of the two means, Holm-corrected over this table at {alpha}, which asks for more than an "
    "interval that misses 1": (
        "pēc abu vidējo sapārotā t testa ar Holma korekciju visai tabulai, līmenī {alpha}; tas prasa vairāk nekā "
        "intervāls, kurā nav 1"
    ),
    "whether all loaders gave the same training samples, by their sha256; where not, the beginning of this one's": (
        "vai visi ielādētāji deva tos pašus apmācības paraugus pēc to sha256; ja ne, šī ielādētāja sha256 sākums"
    ),
    'warm epoch less ceiling, clipped at 0; "< resolution" where its 95% interval holds 0': (
        'silta epoha mīnus robeža, apcirsta pie 0; "< izšķirtspēja", ja tās 95 % intervāls ietver 0'
    ),
    'cold total less warm total, clipped at 0; "< resolution" where its 95% interval holds 0': (
        'aukstais kopējais laiks mīnus siltais, apcirsts pie 0; "< izšķirtspēja", ja tā 95 % intervāls ietver 0'
    ),
    "epoch time of the baseline less this one, paired by round": "atskaites epohas laiks mīnus šis, sapārots pa kārtām",
    "preparation time over the time saved per epoch, with the range by its interval; the baseline's preparation is not "
    "subtracted; never where nothing is saved": (
        "sagatavošanas laiks pret epohā ietaupīto laiku, ar robežām pēc tā intervāla; atskaites sagatavošana nav "
        "atņemta; nekad, ja nekas nav ietaupīts"
    ),
    "over runs, with its 95% t interval": "pa izpildēm, ar 95 % t intervālu",
    "standard deviation over runs": "standartnovirze pa izpildēm",
    "standard deviation over mean; 10% or more is flagged": (
        "standartnovirze pret vidējo; par 10 % un vairāk ir brīdinājums"
    ),
    "over runs, with its 95% bootstrap interval (BCa) where there are ten runs": (
        "pa izpildēm, ar 95 % butstrapa intervālu (BCa), ja ir desmit izpilžu"
    ),
    "of the ratio to the baseline, Holm-corrected over the table of epoch times": (
        "attiecībai pret atskaiti, ar Holma korekciju visai epohas laiku tabulai"
    ),
    "smallest slowdown that the comparison finds with a probability of 95%, given the spread observed": (
        "mazākais palēninājums, ko salīdzinājums pie novērotās izkliedes atrod ar 95 % varbūtību"
    ),
}
