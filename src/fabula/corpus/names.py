"""A pool of given names from many cultures, by the pronouns they are usually taken with.

Training renames characters to names of this pool, so that a small model learns to copy whatever
name the brief holds instead of remembering a few; the embedded model knows each of them as few
tokens. The lists are ours, of names in common use; names that models overuse are left out.
"""

from __future__ import annotations

FEMALE = tuple(
    """
    Ada Adela Agnes Aiko Aisha Alba Alma Amara Amina Anahit Anita Anouk Asha Astrid Ayla Beatriz
    Bela Berit Bianca Birgit Bruna Camila Carmen Cecilia Chiara Clara Dalia Daria Delia Dina
    Dora Edith Efua Eilidh Elena Elin Elsa Emi Enid Esme Esther Eva Farah Fatima Fiona Flora
    Frida Gala Gemma Gerda Gilda Greta Gwen Halima Hana Hanna Hedda Helga Hilda Ida Ilse Imani
    Ines Ingrid Irena Irma Isla Ivana Jana Jolana Josefa Judith Juno Kalina Karin Katya Keiko
    Kezia Kirsten Klara Laila Lara Leila Lena Leonie Lidia Liesl Lina Livia Lotte Lucia Ludmila
    Magda Maja Malin Mara Margit Marisol Marta Matilda Maud Meera Mei Mila Mina Mira Mirela
    Miriam Moira Nadia Naomi Nell Nia Nina Noor Nora Odile Olga Oona Otilia Paloma Paula Petra
    Pia Pilar Polly Priya Rania Rhona Rosa Rosalind Runa Ruth Sabina Samira Sanna Selma Senka
    Shirin Sigrid Simone Sofia Sonia Stella Sunniva Svea Tamar Tamsin Tanya Tess Thea Tilda Tova
    Ulla Uma Una Vera Vesna Vida Vilma Wanda Wilma Xenia Yara Yasmin Yelena Ylva Yuki Zahra
    Zainab Zelda Zora
    """.split()
)

MALE = tuple(
    """
    Abel Adil Ahmed Albin Aldo Alfonso Alois Amadou Amir Anders Andrei Angus Anton Arjun Arlo
    Arne Arvid Axel Bakari Baptiste Basil Bela Benoit Bertil Bjorn Boris Bram Bruno Callum Carlo
    Casimir Cedric Ciro Conrad Cyril Damir Darius Dario Davit Denzel Diego Dmitri Duncan Edgar
    Edwin Egon Einar Emil Emre Enzo Erik Ewan Farid Felix Fergus Filip Finn Floyd Franz Fritz
    Gaspard Georg Gideon Goran Grigor Gustav Hakim Hamish Hamza Hans Harold Hasan Hector Henrik
    Hiro Horace Hugo Ibrahim Idris Igor Ilya Ivan Ivor Jakob Jamal Jan Janek Jarek Jens Jesper
    Jiro Joaquin Jonas Jorge Josef Juan Karim Karl Kaspar Kenji Kofi Kurt Lars Laszlo Leif Leon
    Levi Lorenz Ludvik Luca Luis Magnus Malik Manuel Marek Mario Mateo Milan Milos Mohan Morten
    Nabil Nils Nikhil Nico Noel Olaf Omar Orson Osman Oskar Osvaldo Otto Pablo Pascal Pavel
    Pedro Perrin Petar Pierre Piotr Quentin Rafael Rahim Ramon Rashid Ravi Remy Renzo Roland
    Roman Ruben Rufus Rupert Samir Sandor Sanjay Saul Sergei Silas Simon Stefan Sven Tarek Tariq
    Teodor Theo Thorvald Tobias Tomas Torben Tyrone Umar Uri Vadim Vasil Victor Viktor Vilhelm
    Vito Walter Wendel Wilhelm Wim Xavier Yakov Yannick Yuri Yusuf Zaid Zoltan
    """.split()
)

NEUTRAL = tuple(
    """
    Adair Ariel Arden Ashby Ash Avery Bailey Blair Briar Cameron Casey Corin Dale Darcy Devon
    Eden Ellis Emery Finley Frankie Harper Jamie Jody Jules Kai Kim Kit Lane Lee Linden Lou
    Marlow Merle Micah Morgan Noa Nor Pat Quill Quinn Ray Reese Remi Robin Rory Rowan Sacha Sami
    Sasha Shay Sky Tatum Teal Toni Val Wren Yael Yuna
    """.split()
)

# Given names found often in simple stories, for telling who "he" and "she" are; never written.
_ALSO_FEMALE = frozenset(
    """
    Amy Anna Annie Bella Daisy Ella Ellie Emily Emma Grace Jane Jenny Jill Kate Katie Kitty Lily
    Lila Lucy Lulu Mandy Mary May Mia Molly Sally Sara Sarah Sue Susie Mom Mommy Mama Grandma
    Granny Aunt Mother Queen Princess Mrs Miss Lady Madam Duchess
    """.split()
)
_ALSO_MALE = frozenset(
    """
    Ben Benny Bob Bobby Billy Charlie Dan Daniel David Fred George Jack Jake James Jim Jimmy Joe
    John Johnny Josh Leo Mark Max Mike Nick Pete Peter Sam Spot Tim Timmy Tom Tommy Will Dad
    Daddy Papa Grandpa Uncle Father King Prince Mr Lord Sir Duke
    """.split()
)

GENDER: dict[str, str] = {
    **dict.fromkeys(NEUTRAL, "neutral"),
    **dict.fromkeys(_ALSO_FEMALE, "female"),
    **dict.fromkeys(_ALSO_MALE, "male"),
    **dict.fromkeys(FEMALE, "female"),
    **dict.fromkeys(MALE, "male"),
}
POOLS: dict[str, tuple[str, ...]] = {"female": FEMALE, "male": MALE, "neutral": NEUTRAL}

# Words that stand before a name, or instead of one, and are no name themselves.
TITLES = frozenset(
    """
    Mr Mrs Ms Miss Dr Doctor Sir Lady Lord Madam Madame Monsieur Mademoiselle Signor Signora
    Herr Frau Senor Senora Don Dona King Queen Prince Princess Duke Duchess Count Countess Baron
    Baroness Emperor Captain Commander General Colonel Major Sergeant Lieutenant Admiral Master
    Mistress Father Mother Brother Sister Uncle Aunt Auntie Grandma Grandpa Granny Gran
    Grandmother Grandfather Mom Dad Mama Papa Mum Old Young Little Big Widow Judge Sheriff
    Deputy Professor Maestro Saint Reverend Bishop Abbot Farmer Nurse Officer Inspector
    Detective Marshal Chief Mayor Dame The A An Constable Coach Warden Corporal Teacher Boss Squire
    Cook Governor Private Chef Cousin Doc Foreman Abuela Abuelo Baba Tia Tio Driver Nan Nana Nonna
    Nonno Guard Director Engineer Bosun Postmaster Postmistress Elder Matron Raja Headman Padre
    Ranger Headmaster Headmistress Hunter Cadet Pastor Ambassador Warder Operator Overseer Surveyor
    Empress Sultan Agent Merchant Senhor Comrade Editor Oma Opa
    """.split()
)
