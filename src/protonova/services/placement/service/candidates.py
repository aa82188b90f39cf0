"""Candidates and summaries as messages: one by one, or in tables, which cost a tenth where there are a thousand."""

from __future__ import annotations

from collections.abc import Sequence

from protonova.common.v1 import resources_pb2
from protonova.placement.v1 import allocation_pb2 as pb
from protonova.services.placement.index.candidate import Answer, Candidate, LoneProviders
from protonova.services.placement.records import ProviderRecord
from protonova.services.runtime.packed_ids import PackedIds


def one_by_one(answer: Answer, summaries: Sequence[ProviderRecord]) -> pb.ListAllocationCandidatesResponse:
    response = pb.ListAllocationCandidatesResponse(incomplete=answer.incomplete)
    _fill_lone(response, answer.alone)
    for candidate in answer.trees:
        _fill(response.candidates.add(), candidate)
    for record in summaries:
        _summarize(response.provider_summaries[record.id], record)
    return response


def in_tables(
    answer: Answer, summaries: Sequence[ProviderRecord], *, packed: bool = False
) -> pb.ListAllocationCandidatesResponse:
    response = pb.ListAllocationCandidatesResponse(incomplete=answer.incomplete)
    if answer.alone.ids:
        ids = PackedIds.of(answer.alone.ids) if packed else None
        if ids is None:
            response.alone.provider_ids.extend(answer.alone.ids)
        else:
            response.alone.packed_ids = ids.packed
        response.alone.resources.amounts.update(answer.alone.amounts)
        response.alone.suffixes.extend(answer.alone.suffixes)
    for candidate in answer.trees:
        _fill(response.candidates.add(), candidate)
    if summaries:
        _fill_table(response.summary_table, summaries)
    return response


def _fill_lone(response: pb.ListAllocationCandidatesResponse, alone: LoneProviders) -> None:
    # Copied, which costs half of setting each amount anew.
    amounts = resources_pb2.ResourceAmounts(amounts=alone.amounts)
    for provider in alone.ids:
        message = response.candidates.add(root_id=provider)
        message.allocations.providers[provider].CopyFrom(amounts)
        for suffix in alone.suffixes:
            message.mappings[suffix].provider_ids.append(provider)


def _fill(message: pb.Candidate, candidate: Candidate) -> None:
    message.root_id = candidate.root
    providers = message.allocations.providers
    for provider, amounts in candidate.allocations.items():
        providers[provider].amounts.update(amounts)
    for suffix, ids in candidate.mappings.items():
        message.mappings[suffix].provider_ids.extend(ids)


def _summarize(message: pb.ProviderSummary, record: ProviderRecord) -> None:
    for name, inventory in record.inventories.items():
        summary = message.resources[name]
        summary.capacity = max(inventory.capacity, 0)
        summary.used = record.used.get(name, 0)
    message.traits.extend(sorted(record.traits))
    message.parent_id = record.parent
    message.root_id = record.root


def _fill_table(table: pb.SummaryTable, records: Sequence[ProviderRecord]) -> None:
    table.provider_ids.extend([record.id for record in records])
    table.parent_ids.extend([record.parent for record in records])
    table.root_ids.extend([record.root for record in records])
    places: dict[frozenset[str], int] = {}
    table.traits.extend([places.setdefault(record.traits, len(places)) for record in records])
    for traits in places:
        table.trait_sets.add(traits=sorted(traits))
    for name in sorted({name for record in records for name in record.inventories}):
        found = [record.inventories.get(name) for record in records]
        table.resources.add(
            resource_class=name,
            capacities=[-1 if inventory is None else max(inventory.capacity, 0) for inventory in found],
            used=[record.used.get(name, 0) for record in records],
        )
