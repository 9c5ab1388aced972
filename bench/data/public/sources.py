"""Sources of public collections, and their licences.

Only addresses of the publisher (or, as the licence says, of the copy used in the literature) that
need no account are listed; for the others `how` says how a user gets them. Archives of GitHub are
named by commit, so that their content cannot change.
"""

from dataclasses import dataclass, field

from bench.data.public.fetch import Public
from bench.data.public.transfer import GIB
from bench.data.public.unpack import Limits
from bench.errors import no_such


@dataclass(frozen=True)
class Source:
    """Source of one collection.

    Attributes:
        page: where the publisher describes it.
        licence: as the publisher states it.
        archives: files to download and unpack into one folder; empty where the user must get them.
        inside: folder of the collection in the archive, without a folder that wraps the whole
            archive.
        how: what the user does to get it, in the imperative; "" where it is downloaded.
        limits: largest allowed contents of each archive.
    """

    page: str
    licence: str
    archives: tuple[Public, ...] = ()
    inside: str = ""
    how: str = ""
    limits: Limits = field(default_factory=Limits)

    @property
    def address(self) -> str:
        """Addresses of the archives, separated by spaces, else that of the publisher's page."""
        return " ".join(file.address for file in self.archives) or self.page


def _fetched(
    page: str, licence: str, *addresses: str, inside: str = "", size: int = 2 * GIB
) -> Source:
    """A collection in archives of at most `size` bytes; each may unpack to four times that."""
    archives = tuple(Public(address, None, licence, size) for address in addresses)
    return Source(page, licence, archives, inside, limits=Limits(4 * size))


def _github(repository: str, commit: str, licence: str, inside: str = "") -> Source:
    page = f"https://github.com/{repository}"
    return _fetched(page, licence, f"{page}/archive/{commit}.zip", inside=inside, size=4 * GIB)


def _by_hand(page: str, licence: str, how: str) -> Source:
    return Source(page, licence, how=f"{how} ({page})")


def _named(**sources: Source) -> dict[str, Source]:
    """Sources by the name of the dataset that reads them."""
    return sources


_NASA = ("nasa/pretrained-microscopy-models", "f50b5689a71cf6f86016fb4a5c5a2bb31e0397f3", "MIT")
_ISIC = "https://isic-challenge-data.s3.amazonaws.com/2018/ISIC2018_Task1"
_CAMOUFLAGED = "https://github.com/DengPingFan/SINet"
_THYROID = "https://github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation"
_RESEARCH = "non-commercial research"
_SEE = "see its page"

SOURCES = _named(
    metaldam=_github(
        "lei-bo/MatSemiSeg",
        "d9aa0b40fcd457cf0e0f02f486cc70c233ed0927",
        "not stated (the copy by B. Lei)",
        inside="data/MetalDAM",
    ),
    uhcs=_github(
        "lei-bo/MatSeg",
        "1e1aeda244c90b521bf1e1236f9595c651b01489",
        "MIT (the copy by B. Lei)",
        inside="data/uhcs",
    ),
    nasa_super=_github(*_NASA, inside="benchmark_segmentation_data"),
    nasa_ebc=_github(*_NASA, inside="benchmark_segmentation_data"),
    emps=_github(
        "by256/emps",
        "dd8f86d714894fd08f3db80041893982ce058dd6",
        "MIT; the images are figures of articles",
    ),
    bam_tio2=_github(
        "BAMresearch/automatic-sem-image-segmentation",
        "0aa525b73fc09af31ddcf743485027c909b6ff05",
        "CC BY-NC-ND 4.0",
        inside="Datasets",
    ),
    nuinsseg=_fetched(
        "https://zenodo.org/records/10518968",
        "CC BY 4.0",
        "https://zenodo.org/records/10518968/files/NuInsSeg.zip",
        size=8 * GIB,
    ),
    dsb2018=_fetched(
        "https://bbbc.broadinstitute.org/BBBC038",
        "CC0 1.0",
        "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
    ),
    sbu=_fetched(
        "https://www3.cs.stonybrook.edu/~cvl/projects/shadow_noisy_label/index.html",
        _RESEARCH,
        "https://www3.cs.stonybrook.edu/~cvl/content/datasets/shadow_db/SBU-shadow.zip",
    ),
    isic=_fetched(
        "https://challenge.isic-archive.com/data/#2018",
        "CC BY-NC 4.0",
        f"{_ISIC}-2_Training_Input.zip",
        f"{_ISIC}_Training_GroundTruth.zip",
        size=16 * GIB,
    ),
    kvasir_seg=_fetched(
        "https://datasets.simula.no/kvasir-seg/",
        "research and education only",
        "https://datasets.simula.no/downloads/kvasir-seg.zip",
    ),
    monuseg=_by_hand(
        "https://monuseg.grand-challenge.org/Data/",
        "CC BY-NC-SA 4.0",
        "download training and test data from the challenge's page",
    ),
    camo=_by_hand(
        "https://sites.google.com/view/ltnghia/research/camo",
        _SEE,
        "follow the download link of the authors' page",
    ),
    chameleon=_by_hand(
        _CAMOUFLAGED, _SEE, "take it from the test data that SINet's authors link to"
    ),
    cod10k=_by_hand(_CAMOUFLAGED, _SEE, "follow the links of SINet's authors to COD10K"),
    istd=_by_hand(
        "https://github.com/DeepInsight-PCALab/ST-CGAN",
        _SEE,
        "follow the download link of the authors' repository",
    ),
    synapse=_by_hand(
        "https://www.synapse.org/#!Synapse:syn3193805/wiki/217789",
        "terms of the challenge",
        "register and download the abdomen part of the challenge",
    ),
    acdc=_by_hand(
        "https://www.creatis.insa-lyon.fr/Challenge/acdc/databases.html",
        "CC BY-NC-SA 4.0",
        "download the database from the challenge's page",
    ),
    refuge=_by_hand(
        "https://refuge.grand-challenge.org/",
        "terms of the challenge",
        "join the challenge and download its data",
    ),
    refuge_disc=_by_hand(
        "https://refuge.grand-challenge.org/",
        "terms of the challenge",
        "join the challenge and download its data, or link the folder 'refuge'",
    ),
    refuge_cup=_by_hand(
        "https://refuge.grand-challenge.org/",
        "terms of the challenge",
        "join the challenge and download its data, or link the folder 'refuge'",
    ),
    brats=_by_hand(
        "https://www.med.upenn.edu/cbica/brats2020/data.html",
        "terms of the challenge",
        "request the data on the challenge's page",
    ),
    brats_volumes=_by_hand(
        "https://www.med.upenn.edu/cbica/brats2020/data.html",
        "terms of the challenge",
        "request the data on the challenge's page",
    ),
    brats_whole_tumour=_by_hand(
        "https://www.med.upenn.edu/cbica/brats2020/data.html",
        "terms of the challenge",
        "request the data on the challenge's page",
    ),
    tn3k=_by_hand(_THYROID, _SEE, "follow the download link of the authors' repository"),
    ddti=_by_hand(_THYROID, _SEE, "follow the links of TN3K's authors, who prepared it too"),
)


def find_source(name: str) -> Source:
    """The source of a public collection.

    Raises:
        UserError: the name is unknown.
    """
    if name not in SOURCES:
        raise no_such("public collection", name, SOURCES)
    return SOURCES[name]
