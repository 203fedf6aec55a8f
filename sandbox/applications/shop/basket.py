"""What a basket costs."""
from typing import Dict

CENTS = {"apple": 35, "bread": 280, "coffee": 799}


def total_cents(basket: Dict[str, int]) -> int:
    """The price of so many of each thing; KeyError for one the shop does not have."""
    return sum(CENTS[thing] * count for thing, count in basket.items())
