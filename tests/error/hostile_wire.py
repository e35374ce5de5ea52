"""Hostile files, wire level: what is wrong before there is a model."""
import hostile_pb as pb
from hostile_pb import f, graph, model, node, tag, value, varint

RELU = pb.net(node("Relu"))


def nested(levels):
    """A graph in an attribute of a node of a graph, and so on."""
    g = b""
    for _ in range(levels):
        g = f(1, f(5, f(6, g)))
    return model(g)


def in_node(field):
    """A whole model whose one node ends in the field."""
    return model(graph([node("Relu") + field], [value("x", [1])], [value("y", None)]))


def in_tensor(field):
    return model(graph([node("Relu")], [value("x", [1])], [value("y", None)], [field]))


def cases():
    yield "empty", b""
    yield "text", b"hello world\n"
    yield "html", b"<!DOCTYPE html><html></html>"
    yield "zeros", bytes(4096)
    yield "ones", b"\xff" * 4096
    yield "png", b"\x89PNG\r\n\x1a\n" + bytes(64)
    yield "zip", b"PK\x03\x04" + bytes(64)
    yield "lfs_pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 102\n"
    yield "no_graph", f(1, 8)
    yield "half", RELU[:len(RELU) // 2]
    yield "one_byte_less", RELU[:-1]
    yield "garbage_behind", RELU + b"\xff"

    yield "group_start", tag(1, 3)
    yield "group_end", tag(1, 4)
    yield "wire_type_6", tag(1, 6)
    yield "wire_type_7", tag(99, 7)
    yield "field_0", b"\x00\x01"
    yield "field_2_to_32", varint(1 << 35)
    yield "overlong_tag", b"\x88\x80\x80\x80\x80\x00\x08"

    yield "varint_of_11_bytes", b"\x08" + b"\x80" * 10 + b"\x01"
    yield "varint_of_65_bits", b"\x08" + b"\xff" * 9 + b"\x02"
    yield "varint_cut", b"\x08\x80\x80"
    yield "varint_behind_its_message", f(7, b"\x0a\x01\x80\x01") + b"\x01"
    yield "fixed64_cut", tag(99, 1) + bytes(7)
    yield "fixed32_cut", tag(99, 5) + bytes(3)
    yield "length_behind_the_end", tag(7, 2) + varint(100) + bytes(50)
    yield "length_of_2_to_63", tag(7, 2) + varint(1 << 63)
    yield "length_of_minus_1", tag(7, 2) + varint(-1)
    yield "length_of_2_to_31", tag(7, 2) + varint(1 << 31)
    yield "length_behind_its_message", f(7, tag(1, 2) + varint(9))
    yield "overlong_length", tag(7, 2) + b"\x80\x80\x80\x80\x80\x00"

    yield "graph_as_number", tag(7, 0) + b"\x01"
    yield "graph_as_fixed64", tag(7, 1) + bytes(8)
    yield "ir_version_as_bytes", f(1, b"x")
    yield "ir_version_as_fixed32", tag(1, 5) + bytes(4)
    yield "name_as_number", in_node(tag(3, 0) + b"\x01")
    yield "float_as_number", in_node(f(5, f(1, "alpha") + f(2, 1)))
    yield "type_as_float", in_node(f(5, f(1, "alpha") + tag(20, 5) + bytes(4)))
    yield "raw_data_as_number", in_tensor(f(9, 1))
    yield "dims_as_fixed32", in_tensor(tag(1, 5) + bytes(4))
    yield "packed_floats_of_7_bytes", in_tensor(f(4, bytes(7)))
    yield "packed_doubles_of_12_bytes", in_tensor(f(10, bytes(12)))
    yield "packed_dims_cut", in_tensor(f(1, b"\x01\x80"))
    yield "packed_int64_of_11_bytes", in_tensor(f(7, b"\xff" * 11))

    yield "nested_64_levels", nested(21)
    yield "nested_3000_levels", nested(1000)
    yield "nested_300000_levels", nested(100000)
    yield "nested_functions", f(25, f(7, nested(400)))
    yield "two_graphs", RELU + f(7, b"")
    yield "graph_20000_times", f(7, b"") * 20000
    yield "two_types_of_an_input", model(graph([node("Relu")], [value("x", [1]) + f(2, b"")]))
    yield "tensor_attribute_twice", in_node(f(5, f(1, "value") + f(5, b"") + f(5, b"")))
    yield "shape_twice", model(graph([], [f(1, "x") + f(2, f(1, f(2, b"") + f(2, b"")))]))

    yield "empty_nodes", model(f(1, b"") * 2000000)
    yield "empty_attributes", in_node(f(5, b"") * 1500000)
    yield "empty_tensors", model(f(5, b"") * 1500000)
    yield "empty_functions", f(25, b"") * 1500000
    yield "empty_names", in_node(f(1, "") * 3000000)
    yield "empty_dimensions", model(graph([], [f(1, "x") + f(2, f(1, f(2, f(1, b"") * 1000000)))]))
    yield "unknown_fields", f(99, 1) * 2000000

    yield "nul_in_a_node_name", in_node(f(3, b"a\0b"))
    yield "nul_in_an_operator", model(graph([f(4, b"Relu\0Conv")]))
    yield "nul_in_a_value_name", in_node(f(1, b"x\0"))
    yield "nul_in_a_location", in_tensor(f(13, f(1, "location") + f(2, b"w.bin\0.txt")))
    yield "nul_in_metadata", f(14, f(1, b"hone.labels\0") + f(2, "cat")) + RELU
    yield "latin1_name", in_node(f(3, b"caf\xe9"))
    yield "utf8_cut", in_node(f(3, b"caf\xc3"))
    yield "utf8_overlong_slash", in_node(f(3, b"\xc0\xaf"))
    yield "utf8_overlong_3", in_node(f(3, b"\xe0\x80\xaf"))
    yield "utf8_overlong_4", in_node(f(3, b"\xf0\x80\x80\xaf"))
    yield "utf8_surrogate", in_node(f(3, b"\xed\xa0\x80"))
    yield "utf8_above_10ffff", in_node(f(3, b"\xf4\x90\x80\x80"))
    yield "utf8_lone_tail", in_node(f(3, b"\x80"))
    yield "utf8_f8", in_node(f(3, b"\xf8\x88\x80\x80\x80"))
