from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_cases import broken_stack, encoder_decoder, stack, text_axis
from measure_references import chained, fused_row

from attnreport import Axis, Run
from attnreport.errors import InvalidMeasure
from attnreport.measures import flow, rollout
from attnreport.measures.pipes import Pipes


def reference_flow(run, start, end, residual=0.5):
    """The same flow through a graph with an explicit node per sequence, depth and position."""
    graph = nx.DiGraph()
    depth = {each.name: 0 for each in run.axes}

    def pipe(start, end, capacity):
        if graph.has_edge(start, end):
            graph[start][end]["capacity"] += capacity
        else:
            graph.add_edge(start, end, capacity=capacity)

    for attention in chained(run):
        name, other = attention.queries.name, attention.keys.name
        for place in range(len(attention.queries)):
            top = (name, depth[name] + 1, place)
            row = fused_row(attention, place, "mean", 0.0)
            pipe(top, (name, depth[name], place), 1.0 if row is None else residual)
            for column, weight in enumerate(row or ()):
                pipe(top, (other, depth[other], column), (1 - residual) * weight)
        depth[name] += 1
    ends = (start[0], depth[start[0]], start[1]), (end[0], 0, end[1])
    return nx.maximum_flow_value(graph, *ends) if all(end in graph for end in ends) else 0.0


@pytest.mark.parametrize(
    "run",
    [
        stack(3, axis=Axis.numbered("text", 5)),
        stack(3, axis=Axis.numbered("text", 5), causal=True),
        encoder_decoder(),
        broken_stack(),
    ],
    ids=["stack", "causal", "encoder-decoder", "broken"],
)
def test_flow_equals_an_independent_solver(run):
    joined = flow(run)
    assert joined.rows == tuple(range(len(joined.queries)))
    for part in joined.parts:
        for query, key in [(0, 0), (1, 0), (2, 1), (2, len(part.keys) - 1), (1, 2)]:
            start, end = (joined.queries.name, query), (part.keys.name, key)
            expected = reference_flow(run, start, end)
            assert part.weights[query, key] == pytest.approx(expected, abs=1e-6)


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 7), st.floats(0.01, 1)).filter(
            lambda pipe: pipe[0] != pipe[1]
        ),
        max_size=30,
    )
)
@settings(max_examples=200, deadline=None)
def test_pipes_equal_an_independent_solver(laid):
    pipes, graph = Pipes(), nx.DiGraph()
    pipes.add_nodes(8)
    graph.add_nodes_from(range(8))
    for start, end, capacity in laid:
        pipes.add(start, end, capacity)
        before = graph.get_edge_data(start, end, {"capacity": 0.0})["capacity"]
        graph.add_edge(start, end, capacity=before + capacity)
    expected = nx.maximum_flow_value(graph, 0, 7)
    assert pipes.flow(0, 7) == pytest.approx(expected, abs=1e-9)
    assert pipes.flow(0, 7) == pytest.approx(expected, abs=1e-9), "asking must change nothing"


def test_one_layer_lets_through_what_it_weighs():
    run = stack(1, axis=Axis.numbered("text", 4))
    np.testing.assert_allclose(flow(run).parts[0].weights, rollout(run).parts[0].weights)


def test_flow_is_never_less_than_rollout():
    for run in (stack(3), encoder_decoder()):
        for found, least in zip(flow(run).parts, rollout(run).parts, strict=True):
            assert (found.weights >= least.weights - 1e-9).all()
            assert (found.weights <= 1 + 1e-9).all()


def test_single_rows_are_those_of_the_whole():
    run = encoder_decoder()
    whole, some = flow(run), flow(run, rows=[2, 0])
    assert some.rows == (2, 0)
    for found, expected in zip(some.parts, whole.parts, strict=True):
        np.testing.assert_array_equal(found.weights, expected.weights[[2, 0]])


def test_a_row_that_is_not_there_is_refused():
    with pytest.raises(InvalidMeasure, match="row 10 is not a position of 'text', which has 10"):
        flow(stack(), rows=[3, 10])


def test_a_large_input_is_refused_with_what_to_do():
    run = stack(2, 1, axis=text_axis(words=("word",) * 120))
    with pytest.raises(InvalidMeasure, match=r"flow from 122 rows .* give fewer rows") as caught:
        flow(run)
    assert "\n" not in str(caught.value)
    assert flow(Run(run.attentions[:1]), rows=[0]).parts[0].weights.shape == (1, 122)
