// Memory behind an AXI4 port with exactly stated timing: see sim/cycles/memory.py, which says the same in Python.
//
// * AR is accepted while fewer than `outstanding` accepted reads still have beats to deliver. The first beat comes
//   `read_latency` cycles after AR, or `interval` cycles after the last beat of the read before, whichever is later;
//   beats follow every `interval` cycles. Reads answer in order.
// * AW is accepted while fewer than `outstanding` accepted writes are unanswered. Data is accepted from the cycle after
//   AW, every `interval` cycles at most. B comes `write_latency` cycles after the last beat, in order.
//
// A master that is not ready delays a beat or an answer, and with it all that follows. Bursts are INCR and as wide as the
// bus. An address below `base` or from `base + size` beats on is answered with SLVERR: such a beat reads 0 and writes
// nothing. In a cycle with `load` the file image<job>.hex is read; with `dump`, dump<job>.hex is written from beat
// `dump_first` to beat `dump_last`. Reset leaves the contents alone.

module axi_memory #(
    parameter DATA_WIDTH = 64,
    parameter ADDRESS_WIDTH = 32,
    parameter DEPTH_BITS = 16,
    parameter SLOT_BITS = 6
) (
    input clk,
    input rst,

    input [15:0] read_latency,
    input [15:0] write_latency,
    input [15:0] interval,
    input [15:0] outstanding,
    input [ADDRESS_WIDTH-1:0] base,
    input [31:0] size,

    input load,
    input dump,
    input [31:0] job,
    input [31:0] dump_first,
    input [31:0] dump_last,

    input [ADDRESS_WIDTH-1:0] awaddr,
    input [7:0] awlen,
    input awvalid,
    output awready,
    input [DATA_WIDTH-1:0] wdata,
    input [DATA_WIDTH/8-1:0] wstrb,
    input wlast,
    input wvalid,
    output wready,
    output [1:0] bresp,
    output bvalid,
    input bready,
    input [ADDRESS_WIDTH-1:0] araddr,
    input [7:0] arlen,
    input arvalid,
    output arready,
    output [DATA_WIDTH-1:0] rdata,
    output [1:0] rresp,
    output rlast,
    output rvalid,
    input rready
);
    localparam BEAT_BITS = $clog2(DATA_WIDTH / 8);
    localparam [1:0] SLVERR = 2'b10;

    reg [DATA_WIDTH-1:0] contents [0:(1 << DEPTH_BITS) - 1];
    reg [63:0] now;
    reg [8*32-1:0] file;

    // ---- reads: accepted bursts wait in a ring, the oldest delivers
    reg [ADDRESS_WIDTH-1:0] read_beat [0:(1 << SLOT_BITS) - 1];
    reg [7:0] read_length [0:(1 << SLOT_BITS) - 1];
    reg [63:0] read_time [0:(1 << SLOT_BITS) - 1];
    reg [SLOT_BITS:0] reads_in, reads_out;
    reg [7:0] read_place;
    reg [63:0] read_next;
    wire [SLOT_BITS:0] reads = reads_in - reads_out;
    wire [SLOT_BITS-1:0] read_slot = reads_out[SLOT_BITS-1:0];
    wire [ADDRESS_WIDTH-1:0] read_index = read_beat[read_slot] + {{(ADDRESS_WIDTH - 8){1'b0}}, read_place};
    wire read_inside = {{(64 - ADDRESS_WIDTH){1'b0}}, read_index} < {32'b0, size};

    assign arready = {{(15 - SLOT_BITS){1'b0}}, reads} < outstanding;
    assign rvalid = reads != 0 && now >= read_time[read_slot] && now >= read_next;
    assign rlast = read_place == read_length[read_slot];
    assign rresp = read_inside ? 2'b00 : SLVERR;
    assign rdata = rvalid && read_inside ? contents[read_index[DEPTH_BITS-1:0]] : {DATA_WIDTH{1'b0}};

    always @(posedge clk) begin
        if (rst) begin
            reads_in <= 0;
            reads_out <= 0;
            read_place <= 0;
            read_next <= 0;
        end else begin
            if (arvalid && arready) begin
                read_beat[reads_in[SLOT_BITS-1:0]] <= (araddr - base) >> BEAT_BITS;
                read_length[reads_in[SLOT_BITS-1:0]] <= arlen;
                read_time[reads_in[SLOT_BITS-1:0]] <= now + {48'b0, read_latency};
                reads_in <= reads_in + 1'b1;
            end
            if (rvalid && rready) begin
                read_next <= now + {48'b0, interval};
                read_place <= rlast ? 8'd0 : read_place + 8'd1;
                if (rlast) reads_out <= reads_out + 1'b1;
            end
        end
    end

    // ---- writes: one ring for accepted bursts; `writes_data` is the one that takes data, `writes_out` answers next
    reg [ADDRESS_WIDTH-1:0] write_beat [0:(1 << SLOT_BITS) - 1];
    reg [63:0] write_time [0:(1 << SLOT_BITS) - 1];
    reg [(1 << SLOT_BITS) - 1:0] write_error;
    reg [SLOT_BITS:0] writes_in, writes_data, writes_out;
    reg [7:0] write_place;
    reg [63:0] write_next;
    reg write_outside;
    wire [SLOT_BITS:0] writes = writes_in - writes_out;
    wire [SLOT_BITS-1:0] data_slot = writes_data[SLOT_BITS-1:0];
    wire [SLOT_BITS-1:0] answer_slot = writes_out[SLOT_BITS-1:0];
    wire [ADDRESS_WIDTH-1:0] write_index = write_beat[data_slot] + {{(ADDRESS_WIDTH - 8){1'b0}}, write_place};
    wire write_inside = {{(64 - ADDRESS_WIDTH){1'b0}}, write_index} < {32'b0, size};
    wire [DATA_WIDTH-1:0] mask;

    genvar lane;
    generate
        for (lane = 0; lane < DATA_WIDTH / 8; lane = lane + 1) begin : lanes
            assign mask[8*lane +: 8] = {8{wstrb[lane]}};
        end
    endgenerate

    assign awready = {{(15 - SLOT_BITS){1'b0}}, writes} < outstanding;
    assign wready = writes_in != writes_data && now >= write_next;
    assign bvalid = writes_data != writes_out && now >= write_time[answer_slot];
    assign bresp = write_error[answer_slot] ? SLVERR : 2'b00;

    always @(posedge clk) begin
        if (rst) begin
            writes_in <= 0;
            writes_data <= 0;
            writes_out <= 0;
            write_place <= 0;
            write_next <= 0;
            write_outside <= 0;
            write_error <= 0;
            now <= 0;
        end else begin
            now <= now + 1;
            if (awvalid && awready) begin
                write_beat[writes_in[SLOT_BITS-1:0]] <= (awaddr - base) >> BEAT_BITS;
                writes_in <= writes_in + 1'b1;
            end
            if (wvalid && wready) begin
                write_next <= now + {48'b0, interval};
                write_place <= wlast ? 8'd0 : write_place + 8'd1;
                write_outside <= !wlast && (write_outside || !write_inside);
                if (wlast) begin
                    write_time[data_slot] <= now + {48'b0, write_latency};
                    write_error[data_slot] <= write_outside || !write_inside;
                    writes_data <= writes_data + 1'b1;
                end
            end
            if (bvalid && bready) writes_out <= writes_out + 1'b1;
        end
    end

    // ---- contents
    always @(posedge clk) begin
        if (load) begin
            $sformat(file, "image%0d.hex", job);
            $readmemh(file, contents);
        end
        if (dump) begin
            $sformat(file, "dump%0d.hex", job);
            $writememh(file, contents, dump_first, dump_last);
        end
        if (!rst && wvalid && wready && write_inside)
            contents[write_index[DEPTH_BITS-1:0]] =
                (contents[write_index[DEPTH_BITS-1:0]] & ~mask) | (wdata & mask);
    end
endmodule
