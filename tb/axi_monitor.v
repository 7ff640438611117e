// Watches an AXI4 master: counts its beats (from `clear` on), knows whether the bus is idle, and notes breaches of the protocol.
//
// `breaches` is sticky: 0 a valid was taken back or its payload changed before ready, 1 a burst is not INCR of full
// width, 2 an address is not aligned to the bus, 3 a burst crosses 4 KiB, 4 WLAST is not at the end of its burst,
// 5 a lock, or an ID that is not 0. Data may come before its address, as AXI has it.

module axi_monitor #(
    parameter DATA_WIDTH = 64,
    parameter ADDRESS_WIDTH = 32
) (
    input clk,
    input rst,
    input clear,

    input awid,
    input [ADDRESS_WIDTH-1:0] awaddr,
    input [7:0] awlen,
    input [2:0] awsize,
    input [1:0] awburst,
    input awlock,
    input awvalid,
    input awready,
    input [DATA_WIDTH-1:0] wdata,
    input [DATA_WIDTH/8-1:0] wstrb,
    input wlast,
    input wvalid,
    input wready,
    input bvalid,
    input bready,
    input arid,
    input [ADDRESS_WIDTH-1:0] araddr,
    input [7:0] arlen,
    input [2:0] arsize,
    input [1:0] arburst,
    input arlock,
    input arvalid,
    input arready,
    input rlast,
    input rvalid,
    input rready,

    output idle,
    output reg [5:0] breaches,
    output reg [63:0] read_beats,
    output reg [63:0] write_beats
);
    localparam [2:0] SIZE = $clog2(DATA_WIDTH / 8);
    localparam [1:0] INCR = 2'b01;

    reg [ADDRESS_WIDTH+12:0] aw_before, ar_before;
    reg [DATA_WIDTH+DATA_WIDTH/8:0] w_before;
    reg aw_waits, ar_waits, w_waits;
    wire [ADDRESS_WIDTH+12:0] aw_now = {awaddr, awlen, awsize, awburst};
    wire [ADDRESS_WIDTH+12:0] ar_now = {araddr, arlen, arsize, arburst};
    wire [DATA_WIDTH+DATA_WIDTH/8:0] w_now = {wdata, wstrb, wlast};

    // Bytes from the start of the 4 KiB page to the end of the burst.
    wire [15:0] aw_end = {4'b0, awaddr[11:0]} + (({8'b0, awlen} + 16'd1) << SIZE);
    wire [15:0] ar_end = {4'b0, araddr[11:0]} + (({8'b0, arlen} + 16'd1) << SIZE);

    // Lengths of bursts by their number: of addresses whose data is not through, or of data whose address is not there.
    reg [7:0] lengths [0:255];
    reg [7:0] addresses, bursts;
    wire takes_address = awvalid && awready;
    wire ends_burst = wvalid && wready && wlast;
    wire signed [7:0] lead = addresses - bursts;
    reg [7:0] place;
    reg [15:0] reads, writes;

    assign idle = reads == 0 && writes == 0 && !awvalid && !wvalid && !arvalid;

    always @(posedge clk) begin
        if (rst) begin
            breaches <= 0;
            read_beats <= 0;
            write_beats <= 0;
            aw_waits <= 0;
            ar_waits <= 0;
            w_waits <= 0;
            addresses <= 0;
            bursts <= 0;
            place <= 0;
            reads <= 0;
            writes <= 0;
        end else begin
            aw_waits <= awvalid && !awready;
            ar_waits <= arvalid && !arready;
            w_waits <= wvalid && !wready;
            aw_before <= aw_now;
            ar_before <= ar_now;
            w_before <= w_now;
            if ((aw_waits && (!awvalid || aw_now != aw_before)) || (ar_waits && (!arvalid || ar_now != ar_before))
                || (w_waits && (!wvalid || w_now != w_before)))
                breaches[0] <= 1;
            if ((awvalid && (awsize != SIZE || awburst != INCR)) || (arvalid && (arsize != SIZE || arburst != INCR)))
                breaches[1] <= 1;
            if ((awvalid && awaddr[SIZE-1:0] != 0) || (arvalid && araddr[SIZE-1:0] != 0)) breaches[2] <= 1;
            if ((awvalid && aw_end > 16'd4096) || (arvalid && ar_end > 16'd4096)) breaches[3] <= 1;
            if ((awvalid && (awlock || awid)) || (arvalid && (arlock || arid))) breaches[5] <= 1;

            if (takes_address) begin
                if (lead >= 0) lengths[addresses] <= awlen;
                else if (lengths[addresses] != awlen) breaches[4] <= 1;
                addresses <= addresses + 8'd1;
            end
            if (wvalid && wready) begin
                write_beats <= write_beats + 1;
                place <= wlast ? 8'd0 : place + 8'd1;
            end
            if (ends_burst) begin
                if (lead > 0 ? lengths[bursts] != place : lead == 0 && takes_address && awlen != place) breaches[4] <= 1;
                if (lead < 0 || (lead == 0 && !takes_address)) lengths[bursts] <= place;
                bursts <= bursts + 8'd1;
            end
            if (rvalid && rready) read_beats <= read_beats + 1;
            reads <= reads + {15'b0, arvalid && arready} - {15'b0, rvalid && rready && rlast};
            writes <= writes + {15'b0, awvalid && awready} - {15'b0, bvalid && bready};
            if (clear) begin
                read_beats <= 0;
                write_beats <= 0;
            end
        end
    end
endmodule
