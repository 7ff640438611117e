"""Pipeline lengths in clock cycles: the one place from which hardware builds its stages and models take their law.

No Amaranth here.
"""

RESET = 4
"""Cycles that a reset must last: registers of data have none, and what some of them hold must have left them by its end."""

SCRATCHPAD = 4
"""Read address to data of every scratchpad: address, block RAM, the block's own register, choice of the part."""

READ_RETURN = 1
"""R handshake on the bus to the beat seen by its client: one register."""

ACCUMULATOR_READ = 4
"""STORE's read address to a row of accumulators: whose address, block RAM, the block's own register, choice of the half."""

LEAN_ACCUMULATOR_READ = 2
"""The same of in-order designs: block RAM, choice of the half. It stays as long as its address does."""

LEAN_PARAMETER_READ = 1
"""In-order designs: address of a word of 32 bits of the parameters to the word."""

MOVER_ROW = 4
"""In-order designs: start of a LOAD or STORE, or the last cycle of its row before, to the first burst of a LOAD's row being asked
for, or to the first cycle of a STORE's row."""

MOVER_NEXT_BURST = 1
"""Last beat of a burst at the mover to the next one being asked for; behind a row's last beat this is the row's last cycle."""

MOVER_READ = 3
"""First step of a result that is stored (in the first cycle of a row, or behind the steps of the result before) to its first
limb's product, or its first byte if it is written as it is: accumulator and shift, then bias, are read."""

MOVER_REQUANTISE = 11
"""First limb's product to the result: products of limbs, three cycles of shifting by a bit, shift by fours, rounding. The first
product of the next result may come in the cycle in which this result is taken."""

MOVER_BEAT = 2
"""Byte that completes a beat, or B that makes room for it if that is later, to AW and W being valid."""

MOVER_WRITTEN = 1
"""AW and W of a beat taken to the first cycle in which a byte of the next one is taken, or which is the last one of its row."""

MOVER_END = 1
"""The last cycle of a command's last row, or B of its last burst if that is later, to ``ended``."""

PROGRAM_CHECK = 5
"""Start pulse to the first cycle in which the fetcher may ask for instructions."""

FETCH_NEXT = 4
"""A fetch's grant to the first cycle in which the next one may be asked for."""

DECODE = 3
"""A whole instruction word to its decoded form at the queues."""

QUEUE_HEAD = 2
"""An instruction taken by its queue, or the one before it leaving that, to the first cycle in which it is seen as the head."""

TOKEN_COUNT = 2
"""A post at the token counters to the first cycle in which the token is there."""

TOKEN = TOKEN_COUNT + 1
"""A unit's ``finished`` to the first cycle in which the posted token is there: the post has a register on its way."""

RUN_END = 6
"""First cycle in which the whole program is drained, to the last that counts as one of the run: a fault of its last instruction
(a token too many: 4 cycles, and two in the collector) still counts."""

IN_ORDER_START = 11
"""Issued in order: the first cycle of a run to the one in which its first instruction is asked for: the registers that the host
wrote are looked at one by one, and the program is checked."""

TOKEN_PASS = 8
"""Issued in order: cycles in which every token counter comes by once. All but the first pass of an instruction take one more."""

QUEUE_CHECK = 1
"""All tokens of a queue's head there, to the cycle in which it leaves the queue."""

LOAD_FIRST_ROW = 4
"""LOAD's command handshake to the first cycle in which its first row may go to the burst splitter."""

LOAD_NEXT_ROW = 3
"""A row's handshake to the first cycle in which the next row of the command may go."""

LOAD_NEXT_COMMAND = 1
"""Handshake of a command's last row to the first cycle in which the next LOAD may be taken."""

LOAD_FIRST_BURST = 3
"""A row's handshake to the first cycle in which its first burst may be asked for."""

LOAD_NEXT_BURST = 2
"""A burst's grant to the first cycle in which the next burst may be asked for."""

LOAD_RETURN = READ_RETURN + 1
"""Last beat of a row or burst on the bus to the first cycle in which its place is seen to be free for another."""

LOAD_ROWS = 9
"""Rows that LOAD may have between the splitter and their last beat: one whose beats come, behind it a power of two."""

LOAD_TAIL = READ_RETURN + 4
"""Last beat of a LOAD on the bus to ``finished``: byte rotation, merging, the last beat's flush, the write."""

STORE_START = 5
"""STORE's command handshake to the first step: the first group of results that is read."""

STORE_SELECT = 1
"""A row of accumulators to the group of banks chosen from it."""

REQUANTISE = 10
"""Accumulator and parameters to the result: bias, product (limbs in two, middle, low, high), shift in three, saturation."""

PACK = 3
"""Results to a bus beat: two stages of rotation, merging with what the beat already holds."""

STORE_PIPELINE = ACCUMULATOR_READ + STORE_SELECT + REQUANTISE + PACK
"""A step that completes a beat to the cycle in which the beat is put into the beat FIFO."""

STORE_FIFO = 32
"""Beats that the beat FIFO holds. A step that completes a beat waits until fewer are on their way or inside."""

STORE_BURST = 16
"""Most beats of a write burst; fewer where the design's ``burst_beats`` is less."""

STORE_FIRST_ROW = 5
"""STORE's command handshake to its first row's address being offered to the burst splitter."""

STORE_NEXT_ROW = 3
"""STORE: a row being offered to the burst splitter, or its turn there if that is later, to the next row being offered."""

SPLIT = 3
"""Burst splitter: a burst taken, or a row offered if that is later, to the next burst being offered."""

STORE_POP = 2
"""A beat leaving the beat FIFO, to the first step that may complete another one in its place."""

STORE_ANSWER = 1
"""B of a STORE's burst to the first cycle in which the burst is not outstanding any more."""

STORE_END = STORE_ANSWER + 1
"""B of a STORE's last burst to ``finished``."""

# Systolic arrays and accumulators (hw/pe/systolic.py, hw/array, hw/memory/accumulators.py)

SYSTOLIC_SETUP = 6
"""EXECUTE's command handshake to the first cycle in which the address of its first operand may stand at a scratchpad."""

CORNER_TURN = 3
"""An activation word from its scratchpad to its first byte at row 0 of the output-stationary array: broadcast, row, byte."""

SELECT = 1
"""An activation word from its scratchpad to its bytes at the weight-stationary array: choice of the part."""

OUTPUT_ELEMENT = 5
"""Operands at an output-stationary element to its result, when they are its last: operands, product (two), sum, result."""

OUTPUT_CARRY_SAVE = 4
"""The same of an element that keeps sum and carry: operands, sum, result, and at the column's top the addition of both."""

OUTPUT_SAME_WEIGHT = 5
"""The same of an element that sums by bit weight: operands, rows of each weight, their sum, sum, result."""

OUTPUT_ELEMENTS = {
    "native": OUTPUT_ELEMENT,
    "carry_save": OUTPUT_CARRY_SAVE,
    "dsp": OUTPUT_ELEMENT,
    "same_weight": OUTPUT_SAME_WEIGHT,
}
"""By the key `array.multiplier`."""

TREE_LAYERS = 2
"""Layers of adders from register to register where products of several steps of K are added to each other."""

DIGIT_ENCODER = 2
"""Operands at an encoder (hw/pe/multipliers/digits.py) to their digits."""

WEIGHT_ELEMENT = 5
"""An activation at a weight-stationary element to the partial sum below it: activation, multiplier's register, product (two
registers), sum."""

WEIGHT_CARRY_SAVE = 3
"""The same of elements that keep sum and carry, with the addition of both below the column: activation, sum, and that."""

WEIGHT_ELEMENTS = {"native": WEIGHT_ELEMENT, "carry_save": WEIGHT_CARRY_SAVE, "dsp": WEIGHT_ELEMENT}
"""By the key `array.multiplier`."""

DRAIN_ROWS = 3
"""Rows of an output-stationary array whose results share a register on their way up; each such register is one cycle."""

ACCUMULATE = 5
"""A result at its accumulator bank to the cycle of its write: whose address, block RAM, the block's own register, choice of
the half, sum. A row that is read to be added to must have been written before: results of the same row are more than this
apart."""

SINGLE_ACCUMULATE = 2
"""``ACCUMULATE`` of a design whose geometry is for a single EXECUTE at a time: block RAM, choice of the half and sum."""

# Output-stationary arrays that multiply digit by digit (hw/array/sparse_digit, hw/pe/digit.py)

DIGIT_GROUP = 4
"""Weights along K whose digits are taken together; and the fewest cycles that this takes, since activations come no faster."""

DIGIT_SETUP = 5
"""EXECUTE's command handshake to the first cycle in which its first weights may be asked for."""

DIGIT_LEAD = 11
"""From there to the first digits of its first group: weights, digits, their number, and two groups' time of none."""

DIGIT_TURN = 3
"""Cycles before the first of a group in which it is settled that this comes next."""

DIGIT_FEED = 1 + SCRATCHPAD + CORNER_TURN - DIGIT_TURN
"""A digit in its column's head to the first element: as long as the activations of its group are on their way."""

DIGIT_ELEMENT = 5
"""A digit at an element to the result, when it is its last: digit, activation, multiple, sum, result."""

# Where sums are float32 (hw/memory/float_add.py, hw/output/rescale.py)

FLOAT_ADD = 7
"""Operands at a float32 adder to their sum: comparison, order, shift down, sum, shift up in two, rounding."""

FLOAT_ACCUMULATE = ACCUMULATE - 1 + FLOAT_ADD
"""``ACCUMULATE`` of a design whose sums are float32: the adder takes ``FLOAT_ADD`` cycles instead of one."""

FLOAT_REQUANTISE = FLOAT_ADD + 7
"""``REQUANTISE`` of such a design, whose ``STORE_PIPELINE`` is longer by the difference: bias, product (limbs in two, sum),
normalisation, place, rounding in two."""

# Bit-serial arrays (hw/array/bit_serial)

BIT_SERIAL_SETUP = 5
"""EXECUTE's command handshake to the first cycle in which its first group may begin, or pause."""

MASK_LEAD = SCRATCHPAD + 4
"""Cycles by which a command's first group is later where terms of zero are skipped: the last words of the command before it are
read, then its first masks, which are kept."""

TERM_ENCODER = 2
"""Start of a slice at the encoder to its first terms: the codes' register, the terms'."""

TERM_FOLDER = 1
"""Terms of the encoder to those that an element with int8 activations takes."""

# Table-lookup arrays (hw/array/lookup)

LOOKUP_SETUP = 5
"""EXECUTE's command handshake to the first cycle in which its first group may begin, or pause."""

# Decoded operands (hw/pe/decoder.py, hw/pe/exponent_integer.py)

DECODER = 1
"""A code to its exponent and integer."""

SPLIT_PAIR = 1
"""A pair to its halves."""

JOIN_HALVES = 1
"""The sums of four elements to that of all."""

# Arrays of decoded operands (hw/array/decoded)

DECODED_SETUP = SYSTOLIC_SETUP + 1
"""``SYSTOLIC_SETUP`` of arrays of decoded operands: the steps of a tile are worked out first."""

SLOT_DECODER = 1 + DECODER
"""A byte of a stream to what its slot decodes to: choice of the slot, decoder."""

DECODED_TURN = CORNER_TURN + SLOT_DECODER
"""``CORNER_TURN`` of arrays of decoded operands: an activation word from its scratchpad to its first pair at row 0."""
