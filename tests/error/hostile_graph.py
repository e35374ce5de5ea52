"""Hostile files, graph level: names, edges, opsets, functions, inputs and outputs."""
from hostile_pb import BOOL, DOUBLE, FLOAT, INT64, STRING, attr, f, floats, graph, ints, model, net, node, tensor, value

X, Y = [value("x", [1, 3, 8, 8])], [value("y", None)]


def nodes(*these, inits=(), x=X, y=Y, opset=13):
    return model(graph(these, x, y, inits), opset)


def typed(type_proto):
    """A graph whose input has this TypeProto."""
    return model(graph([node("Relu")], [f(1, "x") + f(2, type_proto)], Y))


def chain(n, start="x", end="y"):
    for i in range(n):
        yield node("Relu", start if i == 0 else f"v{i}", end if i == n - 1 else f"v{i + 1}", f"n{i}")


def function(name, body, domain="local"):
    return f(25, f(1, name) + f(4, "a") + f(5, "b") + b"".join(f(7, n) for n in body) + f(9, f(2, 13)) + f(10, domain))


def cases():
    relu = node("Relu")
    # no model without these
    yield "no_opset", f(1, 8) + f(7, graph([relu], X, Y))
    yield "opset_of_another_domain", f(1, 8) + f(8, f(1, "ai.onnx.ml") + f(2, 3)) + f(7, graph([relu], X, Y))
    yield "opset_0", nodes(relu, opset=0)
    yield "opset_minus_1", nodes(relu, opset=-1)
    yield "opset_1000000", nodes(relu, opset=1000000)
    yield "opset_2_to_63", nodes(relu, opset=(1 << 63) - 1)
    yield "opset_without_version", f(1, 8) + f(8, f(1, "")) + f(7, graph([relu], X, Y))
    yield "no_output", model(graph([relu], X))
    yield "empty_graph", model(b"")
    yield "output_without_name", model(graph([relu], X, [f(2, f(1, f(1, 1)))]))
    yield "output_made_by_nobody", nodes(relu, y=[value("z", None)])
    yield "outputs_made_by_nobody_but_one", nodes(relu, y=Y + [value("z", None)])
    yield "input_without_name", model(graph([relu], [f(2, f(1, f(1, 1)))], Y))

    # names
    yield "value_made_twice", nodes(node("Relu", name="a"), node("Relu", name="b"))
    yield "value_made_twice_by_one_node", nodes(node("Split", "x", "y y", axis=3))
    yield "node_makes_an_input", nodes(node("Relu", "x", "x", "a"), relu)
    yield "node_makes_an_initializer", nodes(node("Relu", "x", "w", "a"), relu, inits=[floats("w", [1], 1.0)])
    yield "input_twice", nodes(relu, x=X + X)
    yield "input_twice_with_other_types", nodes(relu, x=X + [value("x", [2], INT64)])
    yield "initializer_twice", nodes(node("Add", "x w"), inits=[floats("w", [1], 1.0), floats("w", [1], 2.0)])
    yield "missing_producer", nodes(node("Add", "x nowhere"))
    yield "two_missing_producers_of_one_node", nodes(node("Conv", "nowhere w"), inits=[floats("w", [1, 3, 1, 1], 1, 2, 3)])
    yield "newline_in_a_name", nodes(node("Relu", ["no\nwhere"], name="a\nb"))
    yield "escapes_in_a_name", nodes(node("Relu", "x", name="\x1b[31mred"), node("Nope", "x", "z", name="\x1b]0;title\x07"))
    yield "long_name", nodes(node("Nope", name="n" * 100000))
    yield "long_operator", nodes(node("N" * 100000))
    yield "percent_in_a_name", nodes(node("Nope", name="%s%n%x"))
    yield "rtl_in_a_name", nodes(node("Nope", name="\u202egpj.exe"))
    yield "names_that_begin_alike", nodes(*(node("Relu", "x", "a" * i, "b" * i) for i in range(1, 1500)))

    # order
    yield "cycle_of_one", nodes(node("Add", "x y"))
    yield "cycle_of_two", nodes(node("Add", "x b", "a", "first"), node("Relu", "a", "b", "second"), node("Relu", "b", "y"))
    yield "cycle_of_1000", nodes(*chain(1000, "v1000", "v1000"), node("Relu", "v500", "y", "last"))
    yield "cycle_beside", nodes(relu, node("Relu", "b", "a", "first"), node("Relu", "a", "b", "second"))
    yield "too_many_nodes", nodes(*chain(50001))
    yield "too_many_inputs_of_a_node", nodes(node("Sum", "x " * 50001))
    yield "no_such_operator", nodes(node("FooBar"))
    yield "operator_without_name", nodes(f(1, "x") + f(2, "y"))
    yield "operator_of_another_domain", nodes(node("Relu", domain="com.example"))
    yield "operator_in_other_letters", nodes(node("relu"))
    yield "node_without_inputs", nodes(node("Relu", ""))
    yield "node_with_an_absent_input", nodes(node("Relu", "-"))
    yield "second_input_absent", nodes(node("Add", "x -"))
    yield "concat_of_nothing", nodes(node("Concat", "", axis=0))

    # functions
    yield "function_calls_itself", model(graph([node("F", domain="local")], X, Y), more=function("F", [node("F", "a", "b", domain="local")]))
    yield "functions_call_one_another", model(graph([node("F", domain="local")], X, Y),
                                              more=function("F", [node("G", "a", "b", domain="local")]) +
                                              function("G", [node("F", "a", "b", domain="local")]))
    yield "function_without_its_result", model(graph([node("F", domain="local")], X, Y),
                                               more=function("F", [node("Relu", "a", "c")]))
    yield "functions_that_double_40_times", model(
        graph([node("F0", domain="local")], X, Y),
        more=b"".join(function(f"F{i}", [node(f"F{i + 1}", "a", "c", domain="local"),
                                         node(f"F{i + 1}", "c", "b", domain="local")]) for i in range(40)) +
        function("F40", [node("Relu", "a", "b")]))
    yield "no_such_function", model(graph([node("H", domain="local")], X, Y), more=function("F", [node("Relu", "a", "b")]))

    # inputs and outputs
    yield "input_without_type", model(graph([relu], [f(1, "x")], Y))
    yield "input_that_is_a_sequence", typed(f(4, f(1, f(1, f(1, 1)))))
    yield "input_that_is_a_map", typed(f(5, f(1, 7) + f(2, f(1, f(1, 1)))))
    yield "input_of_element_type_0", nodes(relu, x=[value("x", [1], 0)])
    yield "input_of_element_type_99", nodes(relu, x=[value("x", [1], 99)])
    yield "input_of_element_type_minus_1", nodes(relu, x=[value("x", [1], -1)])
    yield "input_of_strings", nodes(relu, x=[value("x", [1], STRING)])
    yield "input_without_shape", nodes(relu, x=[value("x", None)])
    yield "input_of_9_dimensions", nodes(relu, x=[value("x", [1] * 9)])
    yield "input_of_1000000_dimensions", nodes(relu, x=[value("x", [1] * 300000)])
    yield "input_with_an_unknown_dimension", nodes(relu, x=[value("x", ["N", 3, "H", 8])])
    yield "input_of_dimension_minus_5", nodes(relu, x=[value("x", [1, -5])])
    yield "input_of_dimension_int64_min", nodes(relu, x=[value("x", [1, -(1 << 63)])])
    yield "input_of_dimension_2_to_31", nodes(relu, x=[value("x", [1, 1 << 31])])
    yield "input_of_dimension_2_to_63", nodes(relu, x=[value("x", [1, (1 << 63) - 1])])
    yield "input_of_2_to_62_elements", nodes(relu, x=[value("x", [1, 1 << 31 - 1, 1 << 31 - 1, 2])])
    yield "input_whose_size_wraps_to_0", nodes(relu, x=[value("x", ["N", 1 << 30, 1 << 30, 1 << 4])])
    yield "input_of_10_gb", nodes(relu, x=[value("x", ["N", 50000, 50000])])
    yield "attribute_of_no_type", nodes(node("Elu") + f(5, f(1, "alpha") + f(20, 0)))
    yield "attribute_of_type_99", nodes(node("Elu") + f(5, f(1, "alpha") + f(20, 99)))
    yield "graph_attribute_as_number", nodes(node("Elu", alpha=(f(6, b""), 5)))
