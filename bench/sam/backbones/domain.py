"""SAM trained further on images of one domain: MedSAM, micro-sam, PathoSAM, MedicoSAM.

Each has the architecture and the tensor names of SAM. The publishers state no SHA-256 of these
files.
"""

from dataclasses import dataclass, replace

from bench.data.public.fetch import Public
from bench.sam.backbone import get_backbone, register_backbone

_BIOIMAGE = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io/"
_GOETTINGEN = "https://owncloud.gwdg.de/index.php/s/"
MICRO_SAM = "https://doi.org/10.1038/s41592-024-02580-4"
LIGHT = "cells and nuclei in light microscopy: LIVECell, TissueNet, DeepBacs and others"
ORGANELLES = "mitochondria and nuclei in electron microscopy: MitoEM, MitoLab and others"
NUCLEI = "nuclei in H&E-stained tissue"
MIT = "MIT by secondary sources, not verified; none is stated for the weights"


@dataclass(frozen=True)
class Start:
    """Start weights of one domain.

    Attributes:
        name: of the backbone.
        of: the backbone of Meta that has this architecture.
        summary: one line.
        paper: its address.
        licence: as the publisher states it.
        trained_on: the images.
        address: of the file.
    """

    name: str
    of: str
    summary: str
    paper: str
    licence: str
    trained_on: str
    address: str


def _micro(size: str, domain: str, trained_on: str, record: str) -> Start:
    letter = size[-1]
    name = f"micro_sam_{size}_{domain}"
    words = {"lm": "light microscopy", "em": "organelles in electron microscopy"}[domain]
    return Start(
        name,
        f"sam_{size}",
        f"micro-sam for {words}, ViT-{letter.upper()}",
        MICRO_SAM,
        "CC BY 4.0",
        trained_on,
        f"{_BIOIMAGE}{record}/1.2/files/{size}.pt",
    )


def _patho(letter: str, share: str) -> Start:
    return Start(
        f"patho_sam_vit_{letter}",
        f"sam_vit_{letter}",
        f"PathoSAM for histopathology, ViT-{letter.upper()}",
        "https://arxiv.org/abs/2502.00408",
        MIT,
        NUCLEI,
        f"{_GOETTINGEN}{share}/download",
    )


STARTS = (
    Start(
        "medsam_vit_b",
        "sam_vit_b",
        "MedSAM for medical images, ViT-B",
        "https://doi.org/10.1038/s41467-024-44824-z",
        "Apache-2.0 (as the authors state on the Hugging Face Hub, wanglab/medsam-vit-base)",
        "1.57 million pairs of medical images and masks of ten modalities",
        "https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
    ),
    Start(
        "medico_sam_vit_b",
        "sam_vit_b",
        "MedicoSAM for medical images, ViT-B",
        "https://arxiv.org/abs/2501.11734",
        MIT,
        "medical images of many modalities from public collections",
        f"{_GOETTINGEN}f5Ol4FrjPQWfjUF/download",
    ),
    _micro("vit_b", "lm", LIGHT, "diplomatic-bug"),
    _micro("vit_l", "lm", LIGHT, "idealistic-rat"),
    _micro("vit_b", "em", ORGANELLES, "noisy-ox"),
    _micro("vit_l", "em", ORGANELLES, "humorous-crab"),
    _patho("b", "sBB4H8CTmIoBZsQ"),
    _patho("l", "IZgnn1cpBq2PHod"),
    _patho("h", "L7AcvVz7DoWJ2RZ"),
)

for start in STARTS:
    register_backbone(
        replace(
            get_backbone(start.of),
            name=start.name,
            summary=start.summary,
            paper=start.paper,
            licence=start.licence,
            trained_on=start.trained_on,
            public=Public(start.address, None, start.licence),
            file=__file__,
        )
    )
