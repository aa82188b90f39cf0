"""All of Image put together: importing this module registers every handler at the blueprint."""

from protonova.companions.image import data, discovery, images, listing, members, schemas
from protonova.companions.image.files import ImageFiles
from protonova.companions.image.recovery import recover
from protonova.companions.image.routes import blueprint
from protonova.companions.image.schema import SCHEMA

__all__ = [
    "SCHEMA",
    "ImageFiles",
    "blueprint",
    "data",
    "discovery",
    "images",
    "listing",
    "members",
    "recover",
    "schemas",
]
