# amaranth: UnusedElaboratable=no
"""RTLIL: names, ports, each module once, shared elements."""

import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import DomainRenamer, Fragment, Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from gen.rtlil import check_name, deduplicate, plain, ports, split, to_rtlil
from hw.share import share


class Adder(wiring.Component):
    """Adds ``step`` to what comes, one cycle later."""

    def __init__(self, *, step: int):
        self._step = step
        super().__init__({"value": In(signed(8)), "total": Out(8), "unused": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.total.eq(self.value + self._step)
        return m


class Pair(wiring.Component):
    """Two adders, one inside the other's module."""

    def __init__(self, *, steps: tuple[int, int]):
        self._steps = steps
        super().__init__({"pair": In(data.ArrayLayout(signed(8), 2)), "totals": Out(data.ArrayLayout(8, 2))})

    def elaborate(self, platform):
        m = Module()
        for i, step in enumerate(self._steps):
            m.submodules[f"adder_{i}"] = adder = share(Adder, step=step)
            m.d.comb += [adder.value.eq(self.pair[i]), self.totals[i].eq(adder.total)]
        return m


class Tree(wiring.Component):
    """Pairs of shared adders, shared or plain, and a memory."""

    def __init__(self, *, shared: bool, steps=((1, 2), (1, 2), (2, 3))):
        self._shared, self._steps = shared, steps
        link = wiring.Signature({"payload": Out(8), "ready": In(1)})
        super().__init__({"value": In(8), "out": Out(link), "totals": Out(8).array(2 * len(steps))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = Memory(shape=8, depth=16, init=[])
        write, read = store.write_port(), store.read_port()
        m.d.comb += [write.addr.eq(self.value), write.data.eq(self.value), write.en.eq(self.out.ready)]
        m.d.comb += [read.addr.eq(self.value), self.out.payload.eq(read.data)]
        for i, steps in enumerate(self._steps):
            pair = share(Pair, steps=steps) if self._shared else Pair(steps=steps)
            m.submodules[f"pair_{i}"] = pair
            m.d.comb += pair.pair.as_value().eq(self.value.replicate(2))
            m.d.comb += [self.totals[2 * i + lane].eq(pair.totals[lane]) for lane in range(2)]
        return m


@pytest.mark.parametrize("name", ["a", "_a", "top_1", "A" * 64])
def test_names_that_do(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "1a", "a-b", "a b", "a\n", "top;touch x", "é", "../x", "A" * 65, "module", "reg", "a$b"]
)
def test_names_that_do_not(name):
    with pytest.raises(ValueError, match="must be 1 to 64 letters"):
        check_name(name)


def test_names_are_checked_first(tree):
    with pytest.raises(ValueError, match="must be 1 to 64 letters"):
        to_rtlil(tree, name="top;touch x")


def test_name_of_wrong_type():
    with pytest.raises(TypeError, match="must be text, not 3"):
        check_name(3)


@pytest.fixture
def tree() -> Tree:
    """A tree that does not complain of being left unelaborated."""
    tree = Tree(shared=True)
    Fragment.get(tree, None)
    return tree


def test_ports_are_joined_by_one_underscore(tree):
    assert set(ports(tree)) == {
        "value", "out_payload", "out_ready", "totals_0", "totals_1", "totals_2", "totals_3", "totals_4", "totals_5",
    }  # fmt: skip


def test_ports_that_would_meet():
    class Clash(wiring.Component):
        a_b: In(1)
        a: Out(wiring.Signature({"b": Out(1)}))

        def elaborate(self, platform):
            return Module()

    with pytest.raises(ValueError, match="different names, not 'a_b' twice"):
        to_rtlil(Clash(), name="clash")


def test_deduplicate_from_the_leaves_up():
    leaf = "  wire width 1 input 0 \\a"
    modules = {
        "top": "  cell \\top.x \\x\n  end\n  cell \\top.y \\y\n  end\n  cell $add $1\n  end",
        "top.x": "  cell \\top.x.leaf \\leaf\n  end",
        "top.y": "  cell \\top.y.leaf \\leaf\n  end",
        "top.x.leaf": leaf,
        "top.y.leaf": leaf,
        "never": leaf,
    }
    assert deduplicate(modules, top="top") == {
        "top_x_leaf": leaf,
        "top_x": "  cell \\top_x_leaf \\leaf\n  end",
        "top": "  cell \\top_x \\x\n  end\n  cell \\top_x \\y\n  end\n  cell $add $1\n  end",
    }


def test_deduplicate_keeps_names_apart():
    modules = {"t": "  cell \\a.b \\x\n  cell \\a_b \\y", "a.b": "  wire \\one", "a_b": "  wire \\two"}
    assert deduplicate(modules, top="t") == {
        "a_b": "  wire \\one",
        "a_b_2": "  wire \\two",
        "t": "  cell \\a_b \\x\n  cell \\a_b_2 \\y",
    }


def test_plain_names_do_not_meet():
    body = plain({"top": "  wire \\a[0]\n  wire \\a_0\n  wire \\begin\n  wire $1\nconnect \\a[0] \\begin"})[
        "top"
    ]
    assert body == "  wire \\a_0_2\n  wire \\a_0\n  wire \\begin_2\n  wire $1\nconnect \\a_0_2 \\begin_2"


def test_plain_names_of_memories():
    body = plain({"top": '  memory width 8 \\m$2\n  cell $memrd $3\n    parameter \\MEMID "\\\\m$2"\n  end'})[
        "top"
    ]
    assert body == '  memory width 8 \\m_2\n  cell $memrd $3\n    parameter \\MEMID "\\\\m_2"\n  end'


def test_plain_names_of_ports_follow_the_module():
    modules = {
        "leaf": "  wire input 0 \\a$1\n  wire \\a_1",
        "top": "  wire \\a$1\n  cell \\leaf \\x$1\n    connect \\a$1 \\a$1\n  end",
    }
    assert plain(modules) == {
        "leaf": "  wire input 0 \\a_1_2\n  wire \\a_1",
        "top": "  wire \\a_1\n  cell \\leaf \\x_1\n    connect \\a_1_2 \\a_1\n  end",
    }


def test_cleared_memories_are_written_as_amaranth_writes_them(tree):
    """All but the blanks in an empty list."""
    ours = re.findall(r"  cell \$meminit_v2 .*?\n  end", to_rtlil(tree, name="tree"), re.DOTALL)
    text = rtlil.convert(Tree(shared=False), name="tree", emit_src=False)
    theirs = re.findall(r"  cell \$meminit_v2 .*?\n  end", text, re.DOTALL)
    assert len(ours) == len(theirs) == 1
    blanks = [re.sub(r"(?<=\{)\s*(?=\})|\$\d+", "", cell) for cell in ours + theirs]
    assert blanks[0] == blanks[1]


def test_wires_without_bits_are_left_out():
    body = "  wire width 0 \\none\n  wire width 8 \\some\nconnect \\none {  }\nconnect \\some 8'0"
    assert split(f"module \\m\n{body}\nend\n") == {"m": "  wire width 8 \\some\nconnect \\some 8'0"}


@pytest.mark.parametrize("shared", [False, True])
def test_every_module_once_and_the_same_each_time(shared):
    text = to_rtlil(Tree(shared=shared), name="tree")
    bodies = list(split(text).values())
    assert len(bodies) == len(set(bodies))
    adders = [body for body in bodies if "cell $add" in body]
    assert len(adders) == 3
    assert text == to_rtlil(Tree(shared=shared), name="tree")
    assert "attribute" not in text
    assert not re.search(r"\\\w*[^\w\s\"\\]", text)


def test_modules_do_not_grow_with_the_number_of_elements():
    sizes = [len(split(to_rtlil(Tree(shared=True, steps=((1, 2),) * n), name="tree"))) for n in (1, 2, 9)]
    assert sizes[0] == sizes[1] == sizes[2]


def test_shared_elements_get_clock_and_reset():
    for cell in re.findall(
        r"  cell \\tree_(?:adder|pair)\S* .*?\n  end", to_rtlil(Tree(shared=True), name="tree"), re.DOTALL
    ):
        assert r"connect \clk \clk" in cell
        assert r"connect \rst \rst" in cell


def test_shared_element_in_another_domain():
    class Other(wiring.Component):
        clock: In(1)
        value: In(8)
        total: Out(8)

        def elaborate(self, platform):
            m = Module()
            m.submodules.pair = pair = DomainRenamer("fast")(share(Pair, steps=(1, 1)))
            m.d.comb += [pair.pair[0].eq(self.value), self.total.eq(pair.totals[0])]
            return m

    assert r"connect \clk \fast_clk" in to_rtlil(Other(), name="other")


def _is_itself() -> bool:
    adder = share(Adder, step=3)
    Fragment.get(adder, None)
    return isinstance(adder, Adder)


def test_shared_element_is_the_component_itself_elsewhere(tree):
    assert _is_itself()
    seen = []

    async def bench(ctx):
        for value in range(-5, 5):
            ctx.set(tree.value, value & 0xFF)
            await ctx.tick()
            seen.append([ctx.get(total) - value & 0xFF for total in tree.totals])

    simulator = Simulator(tree)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [[1, 2, 1, 2, 2, 3]] * 10


def test_sharing_ends_with_the_generation():
    class Faulty(wiring.Component):
        value: In(1)

        def elaborate(self, platform):
            raise RuntimeError("in elaborate")

    with pytest.raises(RuntimeError, match="in elaborate"):
        to_rtlil(Faulty(), name="faulty")
    assert _is_itself()
