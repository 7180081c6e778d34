"""Flat layers → rows: runs that equal a Bottleneck, SPP or Detect are written as one.

A cfg with the structure of one of the family's networks arrives at that document's own numbering, whatever its
channels and classes. Any other gets its residual blocks and SPP lifted, the rest row by row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..spec.primitives import Add, Concat, Convolution, MaxPool, Network, Operation, Pad, Upsample
from ..spec.reading import FAMILY, MAX_ANCHORS, MAX_NUMBER, family_spec
from ..spec.rows import Anchors, Row, Spec
from .layers import FlatHead, FlatLayer, FlatNetwork


@dataclass(slots=True)
class _Group:
    """Flat layers (a run of indices) that become one row."""

    module: str
    members: list[int]
    args: list[object]
    number: int = 1
    options: dict[str, object] = field(default_factory=dict)


def lift(flat: FlatNetwork, origin: str) -> tuple[Spec, list[FlatLayer]]:
    """Write a flat network as a Spec. Detect's inputs are sorted small objects (small strides) first.

    Reorders pools and the Concat of an SPP in `flat`, noting the permutation on the convolution behind it.

    Returns:
        The Spec, and for each row but Detect the flat layer where it starts.
    """
    _order_pyramids(flat)
    activation = _common_activation(flat)
    template = _matching_template(flat, activation)
    if template is not None:
        groups = list(_template_groups(template, flat))
        rows = _template_rows(template, groups)
        backbone = len(template.backbone)
    else:
        groups = _merge_equal(list(_generic_groups(flat)), flat)
        rows = _generic_rows(flat, groups, activation)
        backbone = _backbone_length(groups, flat)
    spec = _with_detect(sorted_heads(flat), groups, rows, backbone, activation, origin)
    return spec, [flat.layers[group.members[0]] for group in groups]


def _common_activation(flat: FlatNetwork) -> str:
    """The activation that most convolutions have; the others name theirs in their row."""
    counts = Counter(str(layer.options["activation"]) for layer in flat.layers if layer.module == "Conv")
    return counts.most_common(1)[0][0] if counts else "leaky"


def _users(flat: FlatNetwork) -> dict[int, list[int]]:
    users: dict[int, list[int]] = {}
    for index, layer in enumerate(flat.layers):
        for source in layer.sources:
            users.setdefault(source, []).append(index)
    for head in flat.heads:
        users.setdefault(head.source, []).append(-1)
    return users


# --- SPP ---------------------------------------------------------------------------------------------------------


def _is_pyramid_pool(layer: FlatLayer, source: int) -> bool:
    if layer.module != "nn.MaxPool2d" or layer.sources != (source,):
        return False
    kernel, stride, padding = layer.args
    return stride == 1 and isinstance(kernel, int) and kernel % 2 == 1 and padding == kernel // 2


def _order_pyramids(flat: FlatNetwork) -> None:
    """Bring each SPP into the row's order: input, then pools by size; Darknet's cfgs join them 13, 9, 5, input."""
    users = _users(flat)
    channels = _channels(flat)
    for index, layer in enumerate(flat.layers):
        base = min(layer.sources)
        pools = [source for source in layer.sources if source != base]
        run = list(range(index - len(pools), index))
        if layer.module != "Concat" or len(pools) < 2 or sorted(pools) != run or len(layer.sources) != len(pools) + 1:
            continue
        if base != run[0] - 1 or not all(_is_pyramid_pool(flat.layers[pool], base) for pool in pools):
            continue
        behind = [user for user in users.get(index, []) if user >= 0]
        plain = all(flat.layers[user].module == "Conv" and "groups" not in flat.layers[user].options for user in behind)
        used_once = all(users[pool] == [index] for pool in pools)
        if not plain or not used_once or len(behind) != len(users.get(index, [])):
            continue
        _order_pyramid(flat, index, base, run, channels[base], behind)


def _order_pyramid(flat: FlatNetwork, concat: int, base: int, run: list[int], channels: int, behind: list[int]) -> None:
    layer = flat.layers[concat]
    by_kernel = sorted(run, key=lambda pool: flat.layers[pool].args[0])  # type: ignore[arg-type,return-value]
    wanted = [base, *by_kernel]
    place = {source: position for position, source in enumerate(layer.sources)}
    permutation = [place[source] * channels + channel for source in wanted for channel in range(channels)]
    flat.layers[run[0] : run[-1] + 1] = [flat.layers[pool] for pool in by_kernel]
    layer.sources = (base, *run)
    if permutation != sorted(permutation):
        for user in behind:
            flat.layers[user].permutation = permutation


def _channels(flat: FlatNetwork) -> list[int]:
    """Output channels of every flat layer; what doesn't fit is reported later, by the Spec itself."""
    channels: list[int] = []
    for layer in flat.layers:
        given = [channels[source] if source >= 0 else 3 for source in layer.sources]
        if layer.module == "Conv":
            channels.append(int(str(layer.args[0])))
        elif layer.module == "Concat":
            channels.append(sum(given))
        elif layer.module == "Slice":
            channels.append(given[0] // int(str(layer.args[0])))
        else:
            channels.append(given[0])
    return channels


# --- the family's own numbering ------------------------------------------------------------------------------------


def _matching_template(flat: FlatNetwork, activation: str) -> Spec | None:
    templates = map(family_spec, FAMILY)
    return next((template for template in templates if _matches(flat, template.network, activation)), None)


def _matches(flat: FlatNetwork, network: Network, activation: str) -> bool:
    trunk = network.operations[: -len(network.heads)]
    if len(trunk) != len(flat.layers) or len(network.heads) != len(flat.heads):
        return False
    feeders = {network.operations[index].inputs[0] for index in network.head_operations}
    if feeders != {head.source for head in flat.heads}:
        return False
    same = all(_equal(layer, operation, activation) for layer, operation in zip(flat.layers, trunk, strict=True))
    return same and _channels_fit(flat, network)


def _equal(layer: FlatLayer, operation: Operation, activation: str) -> bool:
    """Whether they are the same operation but for channels and the value of padding."""
    if layer.sources != operation.inputs:
        return False
    if isinstance(operation, Convolution):
        plain = layer.options == {"activation": activation}
        shape = [operation.kernel_hw[0], operation.stride]
        return layer.module == "Conv" and plain and layer.args[1:] == shape
    if isinstance(operation, MaxPool):
        window = [operation.kernel, operation.stride, operation.padding[0]]
        return layer.module == "nn.MaxPool2d" and layer.args == window
    if isinstance(operation, Pad):
        left, top, right, bottom = operation.padding
        return layer.module == "nn.ConstantPad2d" and layer.args[0] == [left, right, top, bottom]
    if isinstance(operation, Upsample):
        return layer.module == "nn.Upsample" and layer.args[1] == operation.scale
    expected = "Concat" if isinstance(operation, Concat) else "Add" if isinstance(operation, Add) else None
    return layer.module == expected and not layer.options


def _channels_fit(flat: FlatNetwork, network: Network) -> bool:
    """Whether each Bottleneck's first convolution has half its channels, an SPP's half its input's, and sums match."""
    channels = _channels(flat)
    for index, operation in enumerate(network.operations[: len(flat.layers)]):
        if isinstance(operation, Add) and len({channels[source] for source in operation.inputs}) > 1:
            return False
        if not isinstance(operation, Convolution) or not operation.name.endswith(".cv1"):
            continue
        in_spp = isinstance(network.operations[index + 1], MaxPool)
        whole = channels[operation.inputs[0]] if in_spp else channels[index + 1]
        if channels[index] * 2 != whole:
            return False
    return True


def _template_groups(template: Spec, flat: FlatNetwork) -> Iterator[_Group]:
    members: dict[int, list[int]] = {}
    for index, operation in enumerate(template.network.operations[: len(flat.layers)]):
        members.setdefault(operation.row, []).append(index)
    for row in template.rows[:-1]:
        group = members[row.index]
        last = flat.layers[group[-1]]
        args: list[object] = list(row.args)
        if row.module in ("Conv", "Bottleneck", "SPP"):
            channels = flat.layers[group[-2] if last.module == "Add" else group[-1]].args[0]
            args = [channels, *args[1:]]
        elif row.module == "nn.ZeroPad2d":
            args = list(last.args)
        yield _Group(last.module if row.module == "nn.ZeroPad2d" else row.module, group, args, row.number)


def _template_rows(template: Spec, groups: list[_Group]) -> list[Row]:
    return [
        Row(row.index, row.from_, row.number, group.module, tuple(group.args))
        for row, group in zip(template.rows[:-1], groups, strict=True)
    ]


# --- any other network ---------------------------------------------------------------------------------------------


def _generic_groups(flat: FlatNetwork) -> Iterator[_Group]:
    users = _users(flat)
    channels = _channels(flat)
    index = 0
    while index < len(flat.layers):
        group = _residual(flat, users, channels, index) or _pyramid(flat, users, channels, index)
        if group is None:
            layer = flat.layers[index]
            group = _Group(layer.module, [index], list(layer.args), options=dict(layer.options))
        yield group
        index = group.members[-1] + 1


def _plain(layer: FlatLayer, kernel: int) -> bool:
    only_activation = set(layer.options) == {"activation"}
    return layer.module == "Conv" and only_activation and layer.args[1:] == [kernel, 1]


def _residual(flat: FlatNetwork, users: dict[int, list[int]], channels: list[int], index: int) -> _Group | None:
    """Conv c/2 1×1, Conv c 3×3, added to the input, with nothing else reading what is inside."""
    run = flat.layers[index : index + 3]
    if len(run) < 3 or not _plain(run[0], 1) or not _plain(run[1], 3) or run[2].module != "Add" or run[2].options:
        return None
    source = run[0].sources[0]
    half, whole = run[0].args[0], run[1].args[0]
    if run[1].sources != (index,) or run[2].sources != (source, index + 1) or half * 2 != whole:  # type: ignore[operator]
        return None
    if users[index] != [index + 1] or users[index + 1] != [index + 2] or run[0].options != run[1].options:
        return None
    if source < 0 or channels[source] != whole:
        return None
    return _Group("Bottleneck", [index, index + 1, index + 2], [whole], options=dict(run[0].options))


def _pyramid(flat: FlatNetwork, users: dict[int, list[int]], channels: list[int], index: int) -> _Group | None:
    """Conv to half, its pools, their Concat, Conv 1×1."""
    first = flat.layers[index]
    end = index + 1
    while end < len(flat.layers) and _is_pyramid_pool(flat.layers[end], index):
        end += 1
    if end + 1 >= len(flat.layers) or end - index < 3 or not _plain(first, 1) or not _plain(flat.layers[end + 1], 1):
        return None
    concat, last = flat.layers[end], flat.layers[end + 1]
    inside = [*range(index + 1, end), end]
    joined = concat.module == "Concat" and concat.sources == tuple(range(index, end)) and last.sources == (end,)
    if not joined or users[index] != inside or users[end] != [end + 1] or first.options != last.options:
        return None
    source = first.sources[0]
    if first.args[0] * 2 != (channels[source] if source >= 0 else 3):  # type: ignore[operator]
        return None
    kernels = [flat.layers[pool].args[0] for pool in range(index + 1, end)]
    return _Group("SPP", list(range(index, end + 2)), [last.args[0], kernels], options=dict(first.options))


def _merge_equal(groups: list[_Group], flat: FlatNetwork) -> list[_Group]:
    """Equal Bottlenecks in a chain become one row with a number."""
    users = _users(flat)
    merged: list[_Group] = []
    for group in groups:
        before = merged[-1] if merged else None
        chained = (
            before is not None
            and group.module == before.module == "Bottleneck"
            and before.number < MAX_NUMBER
            and (group.args, group.options) == (before.args, before.options)
            and flat.layers[group.members[0]].sources == (before.members[-1],)
            and set(users[before.members[-1]]) == {group.members[0], group.members[-1]}
        )
        if before is not None and chained:
            before.members += group.members
            before.number += 1
        else:
            merged.append(group)
    return merged


def _row_of(groups: list[_Group]) -> dict[int, int]:
    return {-1: -1} | {group.members[-1]: row for row, group in enumerate(groups)}


def _generic_rows(flat: FlatNetwork, groups: list[_Group], activation: str) -> list[Row]:
    row_of = _row_of(groups)
    rows = []
    for index, group in enumerate(groups):
        sources = [row_of[source] for source in flat.layers[group.members[0]].sources]
        written = [-1 if source == index - 1 else source for source in sources]
        several = group.module in ("Concat", "Add")
        options = {key: value for key, value in group.options.items() if (key, value) != ("activation", activation)}
        if several and "activation" in group.options:
            options["activation"] = group.options["activation"]
        args = (*group.args, options) if options else tuple(group.args)
        rows.append(Row(index, tuple(written) if several else written[0], group.number, group.module, args))
    return rows


def _backbone_length(groups: list[_Group], flat: FlatNetwork) -> int:
    """Rows up to the last one before the first upsampling that halves the picture or ends a residual block."""
    last = 0
    for index, group in enumerate(groups):
        layer = flat.layers[group.members[-1]]
        if layer.module == "nn.Upsample":
            break
        halves = group.module in ("Conv", "nn.MaxPool2d") and layer.args[1 if group.module != "Conv" else 2] != 1
        tiny_pool = group.module == "nn.MaxPool2d" and layer.args[0] == 2
        if halves or tiny_pool or group.module in ("Bottleneck", "Add"):
            last = index
    return last + 1


# --- Detect --------------------------------------------------------------------------------------------------------


def sorted_heads(flat: FlatNetwork) -> list[FlatHead]:
    """Heads by stride, small first; equal strides keep the file's order."""
    strides: list[float] = []
    for layer in flat.layers:
        source = layer.sources[0]
        stride = strides[source] if source >= 0 else 1.0
        if layer.module == "Conv":
            stride *= int(str(layer.args[2]))
        elif layer.module == "nn.MaxPool2d":
            stride *= int(str(layer.args[1]))
        elif layer.module == "nn.Upsample":
            stride /= int(str(layer.args[1]))
        strides.append(stride)
    return sorted(flat.heads, key=lambda head: strides[head.source] if head.source >= 0 else 1.0)


def _anchors(heads: list[FlatHead]) -> Anchors:
    """One pool for all heads; official cfgs repeat the same list in each `[yolo]`."""
    if all(head.anchors == heads[0].anchors for head in heads):
        return Anchors(heads[0].anchors, tuple(head.mask for head in heads))
    pool = tuple(dict.fromkeys(shape for head in heads for shape in head.anchors))
    if len(pool) > MAX_ANCHORS:
        raise heads[-1].yolo.error(f"the heads have {len(pool):,} anchors, expected at most {MAX_ANCHORS:,}", "anchors")
    return Anchors(pool, tuple(tuple(pool.index(head.anchors[index]) for index in head.mask) for head in heads))


def _with_detect(
    heads: list[FlatHead],
    groups: list[_Group],
    rows: list[Row],
    backbone: int,
    activation: str,
    origin: str,
) -> Spec:
    for head in heads:
        if head.classes != heads[0].classes:
            raise head.yolo.error(f"classes={head.classes}, another head has {heads[0].classes}", "classes")
    row_of = _row_of(groups)
    options: dict[str, object] = {}
    scales = [head.xy_scale for head in heads]
    if scales != [1.0] * len(heads):
        options["xy_scale"] = scales
    sizes = [head.wh for head in heads]
    if sizes != ["exp"] * len(heads):
        options["wh"] = sizes[0] if len(set(sizes)) == 1 else sizes
    args = ("nc", "anchors", options) if options else ("nc", "anchors")
    detect = Row(len(rows), tuple(row_of[head.source] for head in heads), 1, "Detect", args)
    return Spec(
        tuple(rows[:backbone]),
        (*rows[backbone:], detect),
        heads[0].classes,
        _anchors(heads),
        activation,
        origin=origin,
    )
