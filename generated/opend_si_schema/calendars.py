# Rendered by codegen from templates/schema/calendars.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Regular holidays of the markets that have a table of them: the weekdays on which the exchange is closed by plan.

A year that is there is whole; of a year that is not there nothing is known.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final

# By market and year.
HOLIDAYS: Final[Mapping[str, Mapping[int, frozenset[date]]]] = {
    "HK": {
        # https://www.gov.hk/en/about/abouthk/holiday/2012.htm
        2012: frozenset(
            {
                date(2012, 1, 2),
                date(2012, 1, 23),
                date(2012, 1, 24),
                date(2012, 1, 25),
                date(2012, 4, 4),
                date(2012, 4, 6),
                date(2012, 4, 9),
                date(2012, 5, 1),
                date(2012, 7, 2),
                date(2012, 10, 1),
                date(2012, 10, 2),
                date(2012, 10, 23),
                date(2012, 12, 25),
                date(2012, 12, 26),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2013.htm
        2013: frozenset(
            {
                date(2013, 1, 1),
                date(2013, 2, 11),
                date(2013, 2, 12),
                date(2013, 2, 13),
                date(2013, 3, 29),
                date(2013, 4, 1),
                date(2013, 4, 4),
                date(2013, 5, 1),
                date(2013, 5, 17),
                date(2013, 6, 12),
                date(2013, 7, 1),
                date(2013, 9, 20),
                date(2013, 10, 1),
                date(2013, 10, 14),
                date(2013, 12, 25),
                date(2013, 12, 26),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2014.htm
        2014: frozenset(
            {
                date(2014, 1, 1),
                date(2014, 1, 31),
                date(2014, 2, 3),
                date(2014, 4, 18),
                date(2014, 4, 21),
                date(2014, 5, 1),
                date(2014, 5, 6),
                date(2014, 6, 2),
                date(2014, 7, 1),
                date(2014, 9, 9),
                date(2014, 10, 1),
                date(2014, 10, 2),
                date(2014, 12, 25),
                date(2014, 12, 26),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2015.htm
        2015: frozenset(
            {
                date(2015, 1, 1),
                date(2015, 2, 19),
                date(2015, 2, 20),
                date(2015, 4, 3),
                date(2015, 4, 6),
                date(2015, 4, 7),
                date(2015, 5, 1),
                date(2015, 5, 25),
                date(2015, 7, 1),
                date(2015, 9, 3),
                date(2015, 9, 28),
                date(2015, 10, 1),
                date(2015, 10, 21),
                date(2015, 12, 25),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2016.htm
        2016: frozenset(
            {
                date(2016, 1, 1),
                date(2016, 2, 8),
                date(2016, 2, 9),
                date(2016, 2, 10),
                date(2016, 3, 25),
                date(2016, 3, 28),
                date(2016, 4, 4),
                date(2016, 5, 2),
                date(2016, 6, 9),
                date(2016, 7, 1),
                date(2016, 9, 16),
                date(2016, 10, 10),
                date(2016, 12, 26),
                date(2016, 12, 27),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2017.htm
        2017: frozenset(
            {
                date(2017, 1, 2),
                date(2017, 1, 30),
                date(2017, 1, 31),
                date(2017, 4, 4),
                date(2017, 4, 14),
                date(2017, 4, 17),
                date(2017, 5, 1),
                date(2017, 5, 3),
                date(2017, 5, 30),
                date(2017, 10, 2),
                date(2017, 10, 5),
                date(2017, 12, 25),
                date(2017, 12, 26),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2018.htm
        2018: frozenset(
            {
                date(2018, 1, 1),
                date(2018, 2, 16),
                date(2018, 2, 19),
                date(2018, 3, 30),
                date(2018, 4, 2),
                date(2018, 4, 5),
                date(2018, 5, 1),
                date(2018, 5, 22),
                date(2018, 6, 18),
                date(2018, 7, 2),
                date(2018, 9, 25),
                date(2018, 10, 1),
                date(2018, 10, 17),
                date(2018, 12, 25),
                date(2018, 12, 26),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2019.htm
        2019: frozenset(
            {
                date(2019, 1, 1),
                date(2019, 2, 5),
                date(2019, 2, 6),
                date(2019, 2, 7),
                date(2019, 4, 5),
                date(2019, 4, 19),
                date(2019, 4, 22),
                date(2019, 5, 1),
                date(2019, 5, 13),
                date(2019, 6, 7),
                date(2019, 7, 1),
                date(2019, 10, 1),
                date(2019, 10, 7),
                date(2019, 12, 25),
                date(2019, 12, 26),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2020.htm
        2020: frozenset(
            {
                date(2020, 1, 1),
                date(2020, 1, 27),
                date(2020, 1, 28),
                date(2020, 4, 10),
                date(2020, 4, 13),
                date(2020, 4, 30),
                date(2020, 5, 1),
                date(2020, 6, 25),
                date(2020, 7, 1),
                date(2020, 10, 1),
                date(2020, 10, 2),
                date(2020, 10, 26),
                date(2020, 12, 25),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2021.htm
        2021: frozenset(
            {
                date(2021, 1, 1),
                date(2021, 2, 12),
                date(2021, 2, 15),
                date(2021, 4, 2),
                date(2021, 4, 5),
                date(2021, 4, 6),
                date(2021, 5, 19),
                date(2021, 6, 14),
                date(2021, 7, 1),
                date(2021, 9, 22),
                date(2021, 10, 1),
                date(2021, 10, 14),
                date(2021, 12, 27),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2022.htm
        2022: frozenset(
            {
                date(2022, 2, 1),
                date(2022, 2, 2),
                date(2022, 2, 3),
                date(2022, 4, 5),
                date(2022, 4, 15),
                date(2022, 4, 18),
                date(2022, 5, 2),
                date(2022, 5, 9),
                date(2022, 6, 3),
                date(2022, 7, 1),
                date(2022, 9, 12),
                date(2022, 10, 4),
                date(2022, 12, 26),
                date(2022, 12, 27),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2023.htm
        2023: frozenset(
            {
                date(2023, 1, 2),
                date(2023, 1, 23),
                date(2023, 1, 24),
                date(2023, 1, 25),
                date(2023, 4, 5),
                date(2023, 4, 7),
                date(2023, 4, 10),
                date(2023, 5, 1),
                date(2023, 5, 26),
                date(2023, 6, 22),
                date(2023, 10, 2),
                date(2023, 10, 23),
                date(2023, 12, 25),
                date(2023, 12, 26),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2024.htm
        2024: frozenset(
            {
                date(2024, 1, 1),
                date(2024, 2, 12),
                date(2024, 2, 13),
                date(2024, 3, 29),
                date(2024, 4, 1),
                date(2024, 4, 4),
                date(2024, 5, 1),
                date(2024, 5, 15),
                date(2024, 6, 10),
                date(2024, 7, 1),
                date(2024, 9, 18),
                date(2024, 10, 1),
                date(2024, 10, 11),
                date(2024, 12, 25),
                date(2024, 12, 26),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2025.htm
        2025: frozenset(
            {
                date(2025, 1, 1),
                date(2025, 1, 29),
                date(2025, 1, 30),
                date(2025, 1, 31),
                date(2025, 4, 4),
                date(2025, 4, 18),
                date(2025, 4, 21),
                date(2025, 5, 1),
                date(2025, 5, 5),
                date(2025, 7, 1),
                date(2025, 10, 1),
                date(2025, 10, 7),
                date(2025, 10, 29),
                date(2025, 12, 25),
                date(2025, 12, 26),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2026.htm
        2026: frozenset(
            {
                date(2026, 1, 1),
                date(2026, 2, 17),
                date(2026, 2, 18),
                date(2026, 2, 19),
                date(2026, 4, 3),
                date(2026, 4, 6),
                date(2026, 4, 7),
                date(2026, 5, 1),
                date(2026, 5, 25),
                date(2026, 6, 19),
                date(2026, 7, 1),
                date(2026, 10, 1),
                date(2026, 10, 19),
                date(2026, 12, 25),
            }
        ),
        # https://www.gov.hk/en/about/abouthk/holiday/2027.htm
        2027: frozenset(
            {
                date(2027, 1, 1),
                date(2027, 2, 8),
                date(2027, 2, 9),
                date(2027, 3, 26),
                date(2027, 3, 29),
                date(2027, 4, 5),
                date(2027, 5, 13),
                date(2027, 6, 9),
                date(2027, 7, 1),
                date(2027, 9, 16),
                date(2027, 10, 1),
                date(2027, 10, 8),
                date(2027, 12, 27),
            }
        ),
    },
}
