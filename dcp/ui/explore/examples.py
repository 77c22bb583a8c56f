"""Texts to begin with: short, varied, each with something worth remembering or forgetting."""

from __future__ import annotations

__all__ = ["EXAMPLES"]

EXAMPLES = {
    "A lighthouse": (
        "The lighthouse at Cape Arrow was built in 1874 on a rock that disappears at high tide. "
        "Its first keeper, Martha Quill, lived there for thirty-one years with a grey cat and a "
        "barometer. She wrote down the weather three times a day, and when the lamp was replaced "
        "by an electric one in 1905, the engineers found her notebooks stacked under the stairs. "
        "The notebooks were taken to the museum in the harbour town, where"
    ),
    "A short biography": (
        "Emilia Hartmann (4 March 1891 – 12 June 1967) was a German botanist. She was born in "
        "Leipzig, the second of five children. Her father was a printer and her mother taught "
        "piano. Hartmann studied at the University of Jena from 1911 to 1915 and was one of the "
        "first women to receive a doctorate there. She is best known for her work on mosses. In "
        "1923 she moved to"
    ),
    "Local news": (
        "The city council voted on Tuesday to close the old bridge over the Wend river to cars "
        "for at least two years. Engineers had warned in May that two of its six pillars were "
        "sinking. Buses and cyclists will use a temporary crossing beside the market hall. "
        "“We would rather be late than sorry,” the mayor, Ruth Adler, told reporters. Shop owners "
        "near the bridge said that"
    ),
    "A conversation": (
        "“Did you bring the key?” asked Tom.\n\n"
        "“I gave it to you yesterday,” said Anna, “on the train.”\n\n"
        "Tom went through his pockets again. There was a ticket, a pencil, two coins and a "
        "letter, but no key. Anna looked at the door, then at the rain, then at Tom.\n\n"
        "“The window,” she said. “You never close the kitchen window.”\n\nTom"
    ),
    "A recipe": (
        "Pancakes are flat cakes made from flour, milk and eggs. Mix 200 grams of flour with a "
        "pinch of salt. Add two eggs and stir until the mixture is smooth. Pour in half a litre "
        "of milk, a little at a time. Let it rest for twenty minutes. Heat some butter in a pan, "
        "pour in enough of the mixture to cover the bottom, and"
    ),
}
