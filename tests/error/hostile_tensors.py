"""Hostile files, tensors: element types, sizes, spellings of data, data in other files."""
import struct

from hostile_pb import (BOOL, DOUBLE, FLOAT, FLOAT16, INT8, INT32, INT64, STRING, f, floats, graph, ints, model, net,
                        node, tensor, value)


def with_tensor(t, **more):
    """x + w"""
    return net(node("Add", "x w"), inits=[t], **more)


def entry(key, text):
    return f(13, f(1, key) + f(2, text))


def external(location, offset=None, length=None, dims=(4, 4), more=b""):
    """A model with the initializer w in another file."""
    where = b"" if location is None else entry("location", location)
    where += b"" if offset is None else entry("offset", offset)
    where += b"" if length is None else entry("length", length)
    return with_tensor(tensor("w", dims, more=where + f(14, 1) + more))


def sparse():
    """A sparse initializer called w."""
    return f(15, f(1, floats("w", [1], 1.0)) + f(2, ints("i", 0)) + f(3, 64))


def cases():
    # dims
    yield "raw_too_short", with_tensor(tensor("w", [8], raw=bytes(31)))
    yield "raw_too_long", with_tensor(tensor("w", [8], raw=bytes(33)))
    yield "raw_empty_for_elements", with_tensor(tensor("w", [8], raw=b""))
    yield "raw_for_0_elements", with_tensor(tensor("w", [0], raw=bytes(4)))
    yield "no_data", with_tensor(tensor("w", [8], more=f(12, "doc")))
    yield "scalar_without_data", with_tensor(tensor("w", [], more=f(12, "doc")))
    yield "negative_dim", with_tensor(tensor("w", [-8], raw=bytes(32)))
    yield "two_negative_dims", with_tensor(tensor("w", [-2, -4], raw=bytes(32)))
    yield "dim_int64_min", with_tensor(tensor("w", [-(1 << 63)], raw=bytes(32)))
    yield "dims_whose_product_wraps_to_0", with_tensor(tensor("w", [1 << 32, 1 << 32], raw=b""))
    yield "dims_whose_product_wraps_to_8", with_tensor(tensor("w", [(1 << 61) + 1, 8], raw=bytes(32)))
    yield "bytes_that_wrap_to_0", with_tensor(tensor("w", [1 << 62], raw=b""))
    yield "bytes_that_wrap_to_32", with_tensor(tensor("w", [(1 << 62) + 8], raw=bytes(32)))
    yield "dim_2_to_40", with_tensor(tensor("w", [1 << 40], raw=bytes(32)))
    yield "nine_dims", with_tensor(tensor("w", [1] * 9, raw=bytes(4)))
    yield "million_dims", with_tensor(tensor("w", [1] * 1000000, raw=bytes(4)))
    yield "zero_and_2_to_63", net(node("Reshape", "x w"), inits=[tensor("w", [0, (1 << 63) - 1, 3], INT64, raw=b"")])

    # element types
    for elem in (0, 14, 15, 28, 99, -1, (1 << 31) - 1):
        yield f"element_type_{elem}", with_tensor(tensor("w", [8], elem, raw=bytes(32)))
    yield "element_type_missing", with_tensor(f(1, 8) + f(8, "w") + f(9, bytes(32)))
    yield "strings", with_tensor(tensor("w", [1], STRING, more=f(6, b"cat")))
    yield "strings_as_raw", with_tensor(tensor("w", [1], STRING, raw=b"cat"))
    yield "doubles_as_float_data", net(node("Reshape", "x w"), inits=[tensor("w", [1], INT64, more=f(4, bytes(4)))])
    yield "float_data_for_int64", net(node("Reshape", "x w"), inits=[tensor("w", [2], INT64, more=f(4, bytes(16)))])
    yield "int64_data_for_float", with_tensor(tensor("w", [2], FLOAT, more=f(7, bytes(2))))
    yield "float_data_one_too_few", with_tensor(tensor("w", [8], FLOAT, more=f(4, bytes(28))))
    yield "float_data_one_too_many", with_tensor(tensor("w", [8], FLOAT, more=f(4, bytes(36))))
    yield "float16_in_float_data", with_tensor(tensor("w", [8], FLOAT16, more=f(4, bytes(32))))
    yield "double_data_one_too_few", with_tensor(tensor("w", [2], DOUBLE, more=f(10, bytes(8))), elem=DOUBLE)
    yield "raw_float16_of_odd_size", with_tensor(tensor("w", [2], FLOAT16, raw=bytes(3)), elem=FLOAT16)
    yield "sparse_initializer", model(graph([node("Add", "x w")], [value("x", [1, 3, 8, 8])], [value("y", None)], more=sparse()))
    yield "constant_sparse", net(node("Constant", "", "c", sparse_value=(f(22, b""), 11)), node("Add", "x c"))
    yield "constant_of_strings", net(node("Constant", "", "c", value_string="cat"), node("Add", "x c"))
    yield "constant_without_value", net(node("Constant", "", "c"), node("Add", "x c"))
    yield "constant_of_another_type", net(node("Constant", "", "c", value=(f(3, 1), 2)), node("Add", "x c"))
    yield "constant_raw_too_short", net(node("Constant", "", "c", value=(f(5, tensor("", [9], raw=bytes(8))), 4)), node("Add", "x c"))
    yield "constant_in_another_file_of_etc", net(
        node("Constant", "", "c", value=(f(5, tensor("", [4], more=entry("location", "/etc/passwd") + f(14, 1))), 4)),
        node("Add", "x c"))

    # data in other files
    data = {"w.bin": bytes(64)}
    yield "external_missing", external("w.bin")
    yield "external_without_location", external(None)
    yield "external_with_empty_location", external("")
    yield "external_absolute", external("/etc/passwd")
    yield "external_parent", external("../w.bin"), {"../outside.bin": bytes(64)}
    yield "external_far_parent", external("../../../../../../../../etc/passwd")
    yield "external_parent_inside", external("sub/../w.bin"), {"sub/a": b"", **data}
    yield "external_parent_behind_a_folder", external("sub/../../w.bin"), {"sub/a": b""}
    yield "external_backslashes", external("..\\..\\w.bin"), data
    yield "external_double_slash", external("sub//w.bin"), {"sub/w.bin": bytes(64)}
    yield "external_trailing_slash", external("w.bin/"), data
    yield "external_file_as_folder", external("w.bin/x"), data
    yield "external_folder", external("sub"), {"sub": ("folder", None)}
    yield "external_dot", external("."), data
    yield "external_symlink", external("link.bin"), {**data, "link.bin": ("symlink", "w.bin")}
    yield "external_symlink_outside", external("link.bin"), {"link.bin": ("symlink", "/etc/passwd")}
    yield "external_symlink_to_nothing", external("link.bin"), {"link.bin": ("symlink", "nothing")}
    yield "external_symlink_to_itself", external("link.bin"), {"link.bin": ("symlink", "link.bin")}
    yield "external_behind_a_symlink", external("link/passwd"), {"link": ("symlink", "/etc")}
    yield "external_hard_link", external("link.bin"), {**data, "link.bin": ("hardlink", "w.bin")}
    yield "external_fifo", external("pipe"), {"pipe": ("fifo", None)}
    yield "external_empty", external("w.bin"), {"w.bin": b""}
    yield "external_too_short", external("w.bin"), {"w.bin": bytes(63)}
    yield "external_offset_behind_the_end", external("w.bin", "1"), data
    yield "external_offset_far_behind", external("w.bin", "65"), data
    yield "external_offset_minus_1", external("w.bin", "-1"), data
    yield "external_offset_plus_1", external("w.bin", "+1"), data
    yield "external_offset_that_wraps", external("w.bin", str((1 << 64) - 64)), data
    yield "external_offset_of_65_bits", external("w.bin", str(1 << 64)), data
    yield "external_offset_hexadecimal", external("w.bin", "0x10"), data
    yield "external_offset_with_space", external("w.bin", " 0"), data
    yield "external_offset_empty", external("w.bin", ""), data
    yield "external_length_too_short", external("w.bin", "0", "63"), data
    yield "external_length_too_long", external("w.bin", "0", "65"), data
    yield "external_length_0", external("w.bin", "0", "0"), data
    yield "external_length_minus_1", external("w.bin", "0", "-1"), data
    yield "external_length_2_to_64", external("w.bin", "0", str(1 << 64)), data
    yield "external_of_huge_dims", external("w.bin", dims=(1 << 31, 1 << 31)), data
    yield "external_of_wrapping_dims", external("w.bin", dims=(1 << 32, 1 << 32)), data
    yield "external_and_raw", external("w.bin", more=f(9, bytes(64))), data
    yield "external_long_name", external("w" * 300), data
    yield "external_long_path", external("w/" * 5000 + "w"), data
    yield "external_newline", external("w\n.bin"), data
    yield "data_location_7", with_tensor(tensor("w", [1], raw=bytes(4), more=f(14, 7)))
    yield "larger_than_2_gb", ("sparse", (1 << 31) + 5)
