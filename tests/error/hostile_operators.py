"""Hostile files, operators: attributes out of range, shapes that cannot be, results that no machine holds."""
from hostile_pb import BOOL, DOUBLE, FLOAT, INT64, attr, f, floats, graph, ints, model, net, node, scalar, tensor, value

BIG = (1 << 63) - 1
LEAST = -(1 << 63)


def conv(x=(1, 3, 8, 8), w=(4, 3, 3, 3), bias=None, **attrs):
    inits = [tensor("w", w)] + ([tensor("b", bias)] if bias is not None else [])
    return net(node("Conv", "x w b" if bias is not None else "x w", **attrs), x=x, inits=inits)


def pool(op="MaxPool", x=(1, 3, 8, 8), opset=13, **attrs):
    return net(node(op, **attrs), x=x, opset=opset)


def one(op, *inits, ins="x", x=(1, 3, 8, 8), opset=13, elem=FLOAT, **attrs):
    return net(node(op, ins, **attrs), x=x, inits=inits, opset=opset, elem=elem)


def shaped(op, *target, x=(1, 3, 8, 8), **attrs):
    """An operator with a list of integers as its second input."""
    return net(node(op, "x s", **attrs), x=x, inits=[ints("s", *target)])


def doubling(op, times, **attrs):
    """Each node takes the result of the one before twice."""
    return [node(op, f"c{i} c{i}", f"c{i + 1}", f"d{i}", **attrs) for i in range(times)]


def windows():
    for name, at in {"stride_0": dict(strides=[0, 1]), "stride_minus_1": dict(strides=[1, -1]),
                     "stride_2_to_63": dict(strides=[BIG, 1]), "one_stride": dict(strides=[1]),
                     "no_strides": dict(strides=(b"", 7)), "4097_strides": dict(strides=[1] * 4097),
                     "dilation_0": dict(dilations=[0, 1]), "dilation_minus_1": dict(dilations=[-1, 1]),
                     "dilation_2_to_62": dict(dilations=[1 << 62, 1]), "dilation_2_to_30": dict(dilations=[1 << 30, 1 << 30]),
                     "three_pads": dict(pads=[0, 0, 0]), "pads_minus_9": dict(pads=[-9, 0, 0, 0]),
                     "pads_2_to_63": dict(pads=[BIG, 0, 0, 0]), "pads_of_30_bits": dict(pads=[1 << 30] * 4),
                     "auto_pad_unknown": dict(auto_pad="SAME"), "auto_pad_with_nul": dict(auto_pad=b"VALID\0x"),
                     "auto_pad_as_number": dict(auto_pad=1), "strides_as_float": dict(strides=1.0),
                     "strides_as_string": dict(strides="11")}.items():
        yield "conv_" + name, conv(**at)
        if "dilation" not in name:
            yield "max_pool_" + name, pool(kernel_shape=[2, 2], **at)
    yield "conv_group_0", conv(group=0)
    yield "conv_group_minus_1", conv(group=-1)
    yield "conv_group_2_to_63", conv(group=BIG)
    yield "conv_group_does_not_divide", conv(group=2)
    yield "conv_group_as_float", conv(group=1.0)
    yield "conv_kernel_shape_other", conv(kernel_shape=[5, 5])
    yield "conv_kernel_shape_0", conv(kernel_shape=[0, 3])
    yield "conv_weights_of_no_kernel", conv(w=(4, 3, 0, 3))
    yield "conv_weights_of_other_channels", conv(w=(4, 2, 3, 3))
    yield "conv_weights_of_rank_3", conv(w=(4, 3, 3))
    yield "conv_bias_too_short", conv(bias=(3,))
    yield "conv_bias_of_rank_2", conv(bias=(1, 4))
    yield "conv_kernel_larger_than_the_image", conv(x=(1, 3, 2, 2))
    yield "conv_of_rank_2", conv(x=(1, 3))
    yield "conv_of_no_channels", conv(x=(1, 0, 8, 8), group=3)
    yield "conv_result_2_to_31_by_2_to_31", conv(pads=[(1 << 31) - 1] * 4)
    yield "conv_without_weights", one("Conv")
    yield "conv_of_int64", one("Conv", tensor("w", [4, 3, 3, 3], INT64), ins="x w", elem=INT64)
    yield "max_pool_without_kernel", pool()
    yield "max_pool_kernel_0", pool(kernel_shape=[0, 2])
    yield "max_pool_kernel_2_to_63", pool(kernel_shape=[BIG, BIG])
    yield "max_pool_kernel_larger_than_the_image", pool(kernel_shape=[9, 9])
    yield "max_pool_pad_as_large_as_the_kernel", pool(kernel_shape=[2, 2], pads=[2, 2, 2, 2])
    yield "max_pool_three_kernel_axes", pool(kernel_shape=[2, 2, 2])
    yield "max_pool_of_rank_2", pool(x=(1, 3), kernel_shape=[2, 2])
    yield "average_pool_kernel_minus_1", pool("AveragePool", kernel_shape=[-1, 2])
    yield "average_pool_pads_giant", pool("AveragePool", kernel_shape=[2, 2], pads=[1 << 30] * 4)
    yield "global_pool_of_rank_2", pool("GlobalAveragePool", x=(1, 3))


def moves():
    yield "reshape_other_count", shaped("Reshape", 1, 191)
    yield "reshape_two_minus_1", shaped("Reshape", -1, -1)
    yield "reshape_minus_2", shaped("Reshape", -2, 96)
    yield "reshape_int64_min", shaped("Reshape", LEAST)
    yield "reshape_0_behind_the_input", shaped("Reshape", 1, 3, 8, 8, 0)
    yield "reshape_minus_1_not_whole", shaped("Reshape", -1, 7)
    yield "reshape_wraps_to_the_count", shaped("Reshape", (1 << 62) + 48, 4)
    yield "reshape_nine_axes", shaped("Reshape", *[1] * 9)
    yield "reshape_5000_axes", shaped("Reshape", *[1] * 5000)
    yield "reshape_by_floats", one("Reshape", floats("s", [2], 1, 192), ins="x s")
    yield "reshape_by_a_matrix", one("Reshape", tensor("s", [1, 2], INT64), ins="x s")
    yield "reshape_by_an_input", model(graph([node("Reshape", "x s")], [value("x", [4]), value("s", [1], INT64)], [value("y", None)]))
    yield "transpose_twice_the_same_axis", one("Transpose", perm=[0, 1, 1, 3])
    yield "transpose_axis_4", one("Transpose", perm=[0, 1, 2, 4])
    yield "transpose_axis_minus_1", one("Transpose", perm=[0, 1, 2, -1])
    yield "transpose_too_few_axes", one("Transpose", perm=[1, 0])
    yield "concat_axis_4", one("Concat", ins="x x", axis=4)
    yield "concat_axis_minus_5", one("Concat", ins="x x", axis=-5)
    yield "concat_axis_2_to_63", one("Concat", ins="x x", axis=BIG)
    yield "concat_of_other_shapes", one("Concat", floats("w", [1, 1], 1.0), ins="x w", axis=0)
    yield "concat_doubled_60_times", net(node("Identity", "x", "c0"), *doubling("Concat", 60, axis=1), node("Relu", "c60"))
    yield "concat_constants_doubled_60_times", net(
        *doubling("Concat", 60, axis=0), node("ReduceMax", "c60", "m"), node("Add", "x m"), inits=[floats("c0", [1], 1.0)])
    yield "split_into_unequal", net(node("Split", "x", "y z", axis=1))
    yield "split_sizes_of_another_sum", net(node("Split", "x s", "y z", axis=1), inits=[ints("s", 1, 1)])
    yield "split_negative_sizes", net(node("Split", "x s", "y z", axis=1), inits=[ints("s", 4, -1)])
    yield "split_sizes_that_wrap", net(node("Split", "x s", "y z u", axis=1), inits=[ints("s", BIG, BIG, 5)])
    yield "split_other_number_of_sizes", net(node("Split", "x s", "y z", axis=1), inits=[ints("s", 3)])
    yield "slice_step_0", net(node("Slice", "x a e i s"), inits=[ints("a", 0), ints("e", 8), ints("i", 2), ints("s", 0)])
    yield "slice_axis_4", net(node("Slice", "x a e i"), inits=[ints("a", 0), ints("e", 8), ints("i", 4)])
    yield "slice_axis_twice", net(node("Slice", "x a e i"), inits=[ints("a", 0, 0), ints("e", 8, 8), ints("i", 2, -2)])
    yield "slice_other_lengths", net(node("Slice", "x a e"), inits=[ints("a", 0), ints("e", 8, 8)])
    yield "slice_without_ends", net(node("Slice", "x a"), inits=[ints("a", 0)])
    yield "pad_giant", one("Pad", ints("p", 0, 0, BIG, 0, 0, 0, 0, 0), ins="x p")
    yield "pad_2_to_31_squared", one("Pad", ints("p", 0, 0, 1 << 31, 1 << 31, 0, 0, 0, 0), ins="x p")
    yield "pad_negative_beyond_the_input", one("Pad", ints("p", 0, 0, -9, 0, 0, 0, 0, 0), ins="x p")
    yield "pad_int64_min", one("Pad", ints("p", 0, 0, LEAST, 0, 0, 0, 0, 0), ins="x p")
    yield "pad_other_length", one("Pad", ints("p", 1, 1), ins="x p")
    yield "pad_unknown_mode", one("Pad", ints("p", 0, 0, 1, 1, 0, 0, 1, 1), ins="x p", mode="mirror")
    yield "pad_reflect_beyond_the_input", one("Pad", ints("p", 0, 0, 8, 0, 0, 0, 0, 0), ins="x p", mode="reflect")
    yield "gather_index_3", one("Gather", ints("i", 0, 3), ins="x i", axis=1)
    yield "gather_index_minus_4", one("Gather", scalar("i", -4), ins="x i", axis=1)
    yield "gather_index_int64_min", one("Gather", scalar("i", LEAST), ins="x i", axis=1)
    yield "gather_index_2_to_53", one("Gather", scalar("i", 1 << 53), ins="x i", axis=1)
    yield "gather_axis_4", one("Gather", ints("i", 0), ins="x i", axis=4)
    yield "gather_by_floats", one("Gather", floats("i", [1], 0.5), ins="x i")
    yield "expand_2_to_40", shaped("Expand", 1 << 20, 1 << 20, 1, 1, x=(1, 1, 1, 1))
    yield "expand_that_wraps", shaped("Expand", 1 << 32, 1 << 32, x=(1, 1))
    yield "expand_minus_1", shaped("Expand", 1, -2, 8, 8)
    yield "expand_other_shape", shaped("Expand", 1, 3, 7, 7)
    yield "tile_2_to_40", shaped("Tile", 1, 1, 1 << 20, 1 << 20)
    yield "tile_that_wraps", shaped("Tile", 1, 1 << 32, 1 << 32, 1)
    yield "tile_minus_1", shaped("Tile", 1, 1, 1, -1)
    yield "tile_other_rank", shaped("Tile", 2, 2)
    yield "squeeze_axis_of_size_3", shaped("Squeeze", 1)
    yield "squeeze_axis_twice", shaped("Squeeze", 0, -4)
    yield "unsqueeze_axis_9", shaped("Unsqueeze", 9)
    yield "unsqueeze_axis_twice", shaped("Unsqueeze", 0, 0)
    yield "unsqueeze_10_axes", shaped("Unsqueeze", *range(10))
    yield "flatten_axis_5", one("Flatten", axis=5)
    yield "depth_to_space_block_0", one("DepthToSpace", blocksize=0)
    yield "depth_to_space_block_minus_1", one("DepthToSpace", blocksize=-1)
    yield "depth_to_space_block_2_to_32", one("DepthToSpace", blocksize=1 << 32)
    yield "depth_to_space_block_does_not_divide", one("DepthToSpace", blocksize=2)
    yield "space_to_depth_block_does_not_divide", one("SpaceToDepth", blocksize=3)


def constants():
    of_shape = lambda *dims: net(node("ConstantOfShape", "s", "c"), node("Add", "x c"), inits=[ints("s", *dims)])
    yield "constant_of_shape_2_to_40", of_shape(1 << 40)
    yield "constant_of_shape_2_to_80", of_shape(1 << 40, 1 << 40)
    yield "constant_of_shape_that_wraps", of_shape(1 << 32, 1 << 32)
    yield "constant_of_shape_minus_1", of_shape(-1)
    yield "constant_of_shape_1_gb", of_shape(1 << 28)
    yield "constant_of_shape_nine_axes", of_shape(*[1] * 9)
    yield "constant_of_shape_2_of_100_mb", net(
        node("ConstantOfShape", "s", "c", "first"), node("ConstantOfShape", "s", "d", "second"),
        node("Add", "x c", "z"), node("Add", "z d"), x=(1, 25000000), inits=[ints("s", 25000000)])
    yield "constant_of_shape_value_of_2", net(
        node("ConstantOfShape", "s", "c", value=(f(5, tensor("", [2])), 4)), node("Add", "x c"), inits=[ints("s", 1)])
    yield "range_2_to_40", net(node("Range", "a e d", "c"), node("Reshape", "x c"),
                               inits=[scalar("a", 0), scalar("e", 1 << 40), scalar("d", 1)])
    yield "range_delta_0", net(node("Range", "a e d", "c"), node("Reshape", "x c"),
                               inits=[scalar("a", 0), scalar("e", 9), scalar("d", 0)])
    yield "range_to_nan", net(node("Range", "a e d", "c"), node("Add", "x c"),
                              inits=[scalar("a", 0.0, FLOAT), scalar("e", float("nan"), FLOAT), scalar("d", 1.0, FLOAT)])
    yield "range_to_infinity", net(node("Range", "a e d", "c"), node("Add", "x c"),
                                   inits=[scalar("a", 0.0, FLOAT), scalar("e", float("inf"), FLOAT), scalar("d", 1.0, FLOAT)])
    yield "shape_doubled_60_times", net(
        node("Shape", "x", "c0"), *doubling("Concat", 60, axis=0), node("ReduceProd", "c60", "p"), node("Reshape", "x p"),
        x=("N", 3, 8, 8))
    yield "shape_squared_6_times", net(node("Shape", "x", "c0"), *doubling("Mul", 6), node("Reshape", "x c6"))
    yield "shape_of_batch_squared", net(node("Shape", "x", "c0"), *doubling("Mul", 1), node("Reshape", "x c1"), x=("N", 3))
    yield "shape_divided_by_0", net(node("Shape", "x", "s"), node("Div", "s z", "d"), node("Reshape", "x d"), inits=[ints("z", 0)])
    yield "shape_modulo_wraps", net(node("Shape", "x", "s"), node("Add", "s z", "d"), node("Reshape", "x d"), inits=[ints("z", BIG)])


def arithmetic():
    yield "add_shapes_do_not_broadcast", one("Add", tensor("w", [7]), ins="x w")
    yield "add_of_other_types", one("Add", ints("w", 1), ins="x w")
    yield "mul_broadcast_to_2_to_44", net(node("Mul", "x x", "t"), node("Transpose", "x", "u"), node("Mul", "t u"), x=(1 << 22, 1))
    yield "matmul_inner_sizes", one("MatMul", tensor("w", [7, 5]), ins="x w")
    yield "matmul_scalar", one("MatMul", tensor("w", []), ins="x w")
    yield "matmul_outer_product_of_2_to_50", net(node("MatMul", "x w"), x=(1 << 25, 1), inits=[tensor("w", [1, 1 << 18])])
    yield "gemm_of_rank_4", one("Gemm", tensor("w", [8, 8]), ins="x w")
    yield "gemm_inner_sizes", one("Gemm", tensor("w", [7, 5]), ins="x w", x=(1, 8))
    yield "gemm_bias_too_long", one("Gemm", tensor("w", [8, 5]), tensor("b", [6]), ins="x w b", x=(1, 8))
    yield "batch_norm_short_scale", one("BatchNormalization", tensor("s", [2]), tensor("v", [3]), ins="x s v v v")
    yield "batch_norm_of_rank_1", one("BatchNormalization", tensor("v", [3]), ins="x v v v v", x=(3,))
    yield "batch_norm_without_variance", one("BatchNormalization", tensor("v", [3]), ins="x v v v")
    yield "lrn_size_0", one("LRN", size=0)
    yield "lrn_without_size", one("LRN")
    yield "softmax_axis_4", one("Softmax", axis=4)
    yield "softmax_axis_as_float", one("Softmax", axis=1.0)
    yield "softmax_of_int64", one("Softmax", elem=INT64)
    yield "clip_min_of_two", one("Clip", floats("m", [2], 0, 1), ins="x m")
    yield "cast_to_99", one("Cast", to=99)
    yield "cast_without_to", one("Cast")
    yield "cast_to_2_to_32_plus_1", one("Cast", to=(1 << 32) + 1)
    yield "reduce_axis_4", one("ReduceMean", axes=[4])
    yield "reduce_axis_twice", one("ReduceMean", axes=[1, -3])
    yield "reduce_axes_by_an_input", model(
        graph([node("ReduceSum", "x a")], [value("x", [4]), value("a", [1], INT64)], [value("y", None)]))
    yield "prelu_slope_does_not_fit", one("PRelu", tensor("w", [7]), ins="x w")
    yield "where_condition_of_floats", one("Where", ins="x x x")
    yield "not_of_floats", one("Not")
    yield "relu_of_bool", one("Relu", elem=BOOL)
    yield "elu_alpha_as_integer", one("Elu", alpha=1)


def cases():
    for group in (windows, moves, constants, arithmetic):
        yield from group()
