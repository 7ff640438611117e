// An accelerator with a memory behind its AXI4 port, as seen by the test bench: clock, reset, AXI4-Lite, interrupt.
//
// `cycles` counts from the cycle in which the write that starts a program was accepted (the later of its address and data)
// to the first cycle with `interrupt`; such a write while a program runs does not count. `done` rises with the interrupt, or
// when `limit` cycles have gone by.
// Compile with DUT defined as the accelerator's module; with EXTERNAL_MEMORY the AXI4 port comes out instead.

module harness #(
    parameter DATA_WIDTH = 64,
    parameter ADDRESS_WIDTH = 32,
    parameter DEPTH_BITS = 16,
    parameter [7:0] CONTROL = 8'h0C
) (
    input clk,
    input rst,

    input [63:0] limit,
    output done,
    output running,
    output reg [63:0] cycles,
    output idle,
    output [5:0] breaches,
    output [63:0] read_beats,
    output [63:0] write_beats,
    output interrupt,

`ifndef EXTERNAL_MEMORY
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
`else
    output [0:0] m_axi_awid,
    output [ADDRESS_WIDTH-1:0] m_axi_awaddr,
    output [7:0] m_axi_awlen,
    output [2:0] m_axi_awsize,
    output [1:0] m_axi_awburst,
    output m_axi_awlock,
    output [3:0] m_axi_awcache,
    output [2:0] m_axi_awprot,
    output m_axi_awvalid,
    input m_axi_awready,
    output [DATA_WIDTH-1:0] m_axi_wdata,
    output [DATA_WIDTH/8-1:0] m_axi_wstrb,
    output m_axi_wlast,
    output m_axi_wvalid,
    input m_axi_wready,
    input [0:0] m_axi_bid,
    input [1:0] m_axi_bresp,
    input m_axi_bvalid,
    output m_axi_bready,
    output [0:0] m_axi_arid,
    output [ADDRESS_WIDTH-1:0] m_axi_araddr,
    output [7:0] m_axi_arlen,
    output [2:0] m_axi_arsize,
    output [1:0] m_axi_arburst,
    output m_axi_arlock,
    output [3:0] m_axi_arcache,
    output [2:0] m_axi_arprot,
    output m_axi_arvalid,
    input m_axi_arready,
    input [0:0] m_axi_rid,
    input [DATA_WIDTH-1:0] m_axi_rdata,
    input [1:0] m_axi_rresp,
    input m_axi_rlast,
    input m_axi_rvalid,
    output m_axi_rready,
`endif

    input [7:0] s_axil_awaddr,
    input [2:0] s_axil_awprot,
    input s_axil_awvalid,
    output s_axil_awready,
    input [31:0] s_axil_wdata,
    input [3:0] s_axil_wstrb,
    input s_axil_wvalid,
    output s_axil_wready,
    output [1:0] s_axil_bresp,
    output s_axil_bvalid,
    input s_axil_bready,
    input [7:0] s_axil_araddr,
    input [2:0] s_axil_arprot,
    input s_axil_arvalid,
    output s_axil_arready,
    output [31:0] s_axil_rdata,
    output [1:0] s_axil_rresp,
    output s_axil_rvalid,
    input s_axil_rready
);
    // Amaranth's logic takes the reset in front of its registers: as a register itself it does not make Verilator look at
    // all of that logic again whenever an input may have changed, which is a quarter of the time.
    reg reset = 1;
    always @(posedge clk) reset <= rst;

`ifndef EXTERNAL_MEMORY
    wire [0:0] m_axi_awid, m_axi_arid;
    wire [ADDRESS_WIDTH-1:0] m_axi_awaddr, m_axi_araddr;
    wire [7:0] m_axi_awlen, m_axi_arlen;
    wire [2:0] m_axi_awsize, m_axi_arsize, m_axi_awprot, m_axi_arprot;
    wire [1:0] m_axi_awburst, m_axi_arburst, m_axi_bresp, m_axi_rresp;
    wire [3:0] m_axi_awcache, m_axi_arcache;
    wire m_axi_awlock, m_axi_awvalid, m_axi_awready, m_axi_arlock, m_axi_arvalid, m_axi_arready;
    wire [DATA_WIDTH-1:0] m_axi_wdata, m_axi_rdata;
    wire [DATA_WIDTH/8-1:0] m_axi_wstrb;
    wire m_axi_wlast, m_axi_wvalid, m_axi_wready, m_axi_bvalid, m_axi_bready;
    wire m_axi_rlast, m_axi_rvalid, m_axi_rready;
    wire [0:0] m_axi_bid = 0;
    wire [0:0] m_axi_rid = 0;

    axi_memory #(.DATA_WIDTH(DATA_WIDTH), .ADDRESS_WIDTH(ADDRESS_WIDTH), .DEPTH_BITS(DEPTH_BITS)) memory (
        .clk(clk), .rst(reset),
        .read_latency(read_latency), .write_latency(write_latency), .interval(interval), .outstanding(outstanding),
        .base(base), .size(size), .load(load), .dump(dump), .job(job), .dump_first(dump_first), .dump_last(dump_last),
        .awaddr(m_axi_awaddr), .awlen(m_axi_awlen), .awvalid(m_axi_awvalid), .awready(m_axi_awready),
        .wdata(m_axi_wdata), .wstrb(m_axi_wstrb), .wlast(m_axi_wlast), .wvalid(m_axi_wvalid), .wready(m_axi_wready),
        .bresp(m_axi_bresp), .bvalid(m_axi_bvalid), .bready(m_axi_bready),
        .araddr(m_axi_araddr), .arlen(m_axi_arlen), .arvalid(m_axi_arvalid), .arready(m_axi_arready),
        .rdata(m_axi_rdata), .rresp(m_axi_rresp), .rlast(m_axi_rlast), .rvalid(m_axi_rvalid), .rready(m_axi_rready)
    );
`endif

    // ---- the start, seen from outside
    reg has_address, has_data, at_control, counting, active;
    wire takes_address = s_axil_awvalid && s_axil_awready;
    wire takes_data = s_axil_wvalid && s_axil_wready;
    wire to_control = takes_address ? s_axil_awaddr == CONTROL : at_control;
    wire start = to_control && (takes_address || has_address) && (takes_data || has_data) && !(has_address && has_data)
        && !active;

    `DUT accelerator (
        .clk(clk), .rst(reset), .interrupt(interrupt),
        .s_axil_awaddr(s_axil_awaddr), .s_axil_awprot(s_axil_awprot), .s_axil_awvalid(s_axil_awvalid),
        .s_axil_awready(s_axil_awready), .s_axil_wdata(s_axil_wdata), .s_axil_wstrb(s_axil_wstrb),
        .s_axil_wvalid(s_axil_wvalid), .s_axil_wready(s_axil_wready), .s_axil_bresp(s_axil_bresp),
        .s_axil_bvalid(s_axil_bvalid), .s_axil_bready(s_axil_bready), .s_axil_araddr(s_axil_araddr),
        .s_axil_arprot(s_axil_arprot), .s_axil_arvalid(s_axil_arvalid), .s_axil_arready(s_axil_arready),
        .s_axil_rdata(s_axil_rdata), .s_axil_rresp(s_axil_rresp), .s_axil_rvalid(s_axil_rvalid),
        .s_axil_rready(s_axil_rready),
        .m_axi_awid(m_axi_awid), .m_axi_awaddr(m_axi_awaddr), .m_axi_awlen(m_axi_awlen), .m_axi_awsize(m_axi_awsize),
        .m_axi_awburst(m_axi_awburst), .m_axi_awlock(m_axi_awlock), .m_axi_awcache(m_axi_awcache),
        .m_axi_awprot(m_axi_awprot), .m_axi_awvalid(m_axi_awvalid), .m_axi_awready(m_axi_awready),
        .m_axi_wdata(m_axi_wdata), .m_axi_wstrb(m_axi_wstrb), .m_axi_wlast(m_axi_wlast), .m_axi_wvalid(m_axi_wvalid),
        .m_axi_wready(m_axi_wready), .m_axi_bid(m_axi_bid), .m_axi_bresp(m_axi_bresp), .m_axi_bvalid(m_axi_bvalid),
        .m_axi_bready(m_axi_bready),
        .m_axi_arid(m_axi_arid), .m_axi_araddr(m_axi_araddr), .m_axi_arlen(m_axi_arlen), .m_axi_arsize(m_axi_arsize),
        .m_axi_arburst(m_axi_arburst), .m_axi_arlock(m_axi_arlock), .m_axi_arcache(m_axi_arcache),
        .m_axi_arprot(m_axi_arprot), .m_axi_arvalid(m_axi_arvalid), .m_axi_arready(m_axi_arready),
        .m_axi_rid(m_axi_rid), .m_axi_rdata(m_axi_rdata), .m_axi_rresp(m_axi_rresp), .m_axi_rlast(m_axi_rlast),
        .m_axi_rvalid(m_axi_rvalid), .m_axi_rready(m_axi_rready)
    );

    axi_monitor #(.DATA_WIDTH(DATA_WIDTH), .ADDRESS_WIDTH(ADDRESS_WIDTH)) monitor (
        .clk(clk), .rst(reset), .clear(start),
        .awid(m_axi_awid), .awaddr(m_axi_awaddr), .awlen(m_axi_awlen), .awsize(m_axi_awsize), .awburst(m_axi_awburst),
        .awlock(m_axi_awlock), .awvalid(m_axi_awvalid), .awready(m_axi_awready),
        .wdata(m_axi_wdata), .wstrb(m_axi_wstrb), .wlast(m_axi_wlast), .wvalid(m_axi_wvalid), .wready(m_axi_wready),
        .bvalid(m_axi_bvalid), .bready(m_axi_bready),
        .arid(m_axi_arid), .araddr(m_axi_araddr), .arlen(m_axi_arlen), .arsize(m_axi_arsize), .arburst(m_axi_arburst),
        .arlock(m_axi_arlock), .arvalid(m_axi_arvalid), .arready(m_axi_arready),
        .rlast(m_axi_rlast), .rvalid(m_axi_rvalid), .rready(m_axi_rready),
        .idle(idle), .breaches(breaches), .read_beats(read_beats), .write_beats(write_beats)
    );

    assign running = counting && !interrupt && cycles < limit;
    assign done = counting && !running;

    always @(posedge clk) begin
        if (reset) begin
            has_address <= 0;
            has_data <= 0;
            at_control <= 0;
            counting <= 0;
            active <= 0;
            cycles <= 0;
        end else begin
            has_address <= (has_address || takes_address) && !(s_axil_bvalid && s_axil_bready);
            has_data <= (has_data || takes_data) && !(s_axil_bvalid && s_axil_bready);
            at_control <= to_control;
            active <= start || (active && running);
            if (start) begin
                counting <= 1;
                cycles <= 1;
            end else if (running) cycles <= cycles + 1;
        end
    end
endmodule
