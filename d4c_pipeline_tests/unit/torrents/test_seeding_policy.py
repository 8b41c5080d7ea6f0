"""What a seeder fetches: the rarest first, within its budget, and not the same at every volunteer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model.seeding import FetchPolicy
from d4c_pipeline.torrents.seeding_policy import Seedable, chosen

GB = 10**9


def offer(number: int, *, copies: int = 1, size: int = GB, dataset: str = "a", path: Path | None = None) -> Seedable:
    info_hash = f"{number:040x}"
    return Seedable(
        info_hash, f"{number}.parquet", dataset, size, copies, f"magnet:?xt=urn:btih:{info_hash}", path=path
    )


def names(offers: tuple[Seedable, ...]) -> list[str]:
    return [one.name.removesuffix(".parquet") for one in offers]


def test_without_a_wish_nothing_but_the_catalogue_is_fetched() -> None:
    assert chosen([offer(1), offer(2)], FetchPolicy()) == ()
    catalogue = offer(3, dataset="", size=99 * GB)
    assert chosen([offer(1), catalogue], FetchPolicy()) == (catalogue,)
    assert chosen([offer(1), catalogue], FetchPolicy(everything=True, budget=GB)) == (catalogue, offer(1))


def test_a_dataset_alone() -> None:
    offers = [offer(1), offer(2, dataset="b"), offer(3, dataset="b")]
    assert sorted(names(chosen(offers, FetchPolicy(datasets=frozenset({"b"}))))) == ["2", "3"]


def test_what_lies_here_is_not_fetched() -> None:
    assert chosen([offer(1, path=Path("/a"))], FetchPolicy(everything=True)) == ()


def test_a_budget_takes_what_has_the_fewest_copies_and_fills_up_with_what_fits() -> None:
    offers = [offer(1, copies=3), offer(2, copies=1), offer(3, copies=2, size=3 * GB), offer(4, copies=4, size=GB // 2)]
    policy = FetchPolicy(everything=True, budget=2 * GB + GB // 2)
    # 3 is rarer than 1 but does not fit beside 2; what it leaves goes to the next ones.
    assert names(chosen(offers, policy)) == ["2", "1", "4"]


def test_among_equals_what_is_held_stays_but_the_rarer_one_replaces_it() -> None:
    offers = [offer(number, copies=2) for number in range(20)]
    policy = FetchPolicy(everything=True, budget=3 * GB)
    held = {f"{number:040x}" for number in (4, 9, 15)}
    assert set(names(chosen(offers, policy, held=held, seeder="x"))) == {"4", "9", "15"}
    rarer = [replace(offers[0], copies=1), *offers[1:]]
    taken = names(chosen(rarer, policy, held=held, seeder="x"))
    assert taken[0] == "0"
    assert set(taken[1:]) < {"4", "9", "15"}


def test_volunteers_keep_different_ones() -> None:
    offers = [offer(number) for number in range(50)]
    policy = FetchPolicy(everything=True, budget=5 * GB)
    held = [set(names(chosen(offers, policy, seeder=f"volunteer {number}"))) for number in range(40)]
    assert held[0] == set(names(chosen(reversed(offers), policy, seeder="volunteer 0")))
    # Forty times five of fifty: with one order for all, 45 would be kept by nobody.
    assert len(set.union(*held)) > 40


@given(
    sizes=st.lists(st.tuples(st.integers(1, 100), st.integers(0, 5)), max_size=30),
    budget=st.integers(0, 400),
)
def test_a_budget_is_never_passed_and_never_left_unused(sizes: list[tuple[int, int]], budget: int) -> None:
    offers = [offer(number, size=size, copies=copies) for number, (size, copies) in enumerate(sizes)]
    taken = chosen(offers, FetchPolicy(everything=True, budget=budget))
    used = sum(one.size for one in taken)
    assert used <= budget
    left = [one for one in offers if one not in taken]
    assert all(one.size > budget - used for one in left)
