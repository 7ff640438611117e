// The harness for a driver in C++: what memory and host answer goes through registers.
//
// The driver looks at a cycle's outputs, works out what it answers in the next cycle, and sets `next_*` before the edge. So no
// logic hangs on an input, and Verilator need not look at any whenever one may have changed.

module fast #(
    parameter DATA_WIDTH = 64,
    parameter ADDRESS_WIDTH = 32,
    parameter [7:0] CONTROL = 8'h0C
) (
    input clk,
    input rst,
    input [63:0] limit,
    output done,
    output [63:0] cycles,
    output idle,
    output [5:0] breaches,
    output [63:0] read_beats,
    output [63:0] write_beats,
    output raised,

    output [ADDRESS_WIDTH-1:0] awaddr,
    output [7:0] awlen,
    output awvalid,
    input next_awready,
    output [DATA_WIDTH-1:0] wdata,
    output [DATA_WIDTH/8-1:0] wstrb,
    output wlast,
    output wvalid,
    input next_wready,
    input [1:0] next_bresp,
    input next_bvalid,
    output bready,
    output [ADDRESS_WIDTH-1:0] araddr,
    output [7:0] arlen,
    output arvalid,
    input next_arready,
    input [DATA_WIDTH-1:0] next_rdata,
    input [1:0] next_rresp,
    input next_rlast,
    input next_rvalid,
    output rready,

    input [7:0] next_lite_address,
    input [31:0] next_lite_wdata,
    input next_lite_awvalid,
    input next_lite_wvalid,
    input next_lite_arvalid,
    output lite_awready,
    output lite_wready,
    output [1:0] lite_bresp,
    output lite_bvalid,
    output lite_arready,
    output [31:0] lite_rdata,
    output [1:0] lite_rresp,
    output lite_rvalid
);
    reg awready, wready, bvalid, arready, rlast, rvalid;
    reg [1:0] bresp, rresp;
    reg [DATA_WIDTH-1:0] rdata;
    reg [7:0] lite_address;
    reg [31:0] lite_wdata;
    reg lite_awvalid, lite_wvalid, lite_arvalid;
    reg [63:0] most;

    always @(posedge clk) begin
        awready <= next_awready;
        wready <= next_wready;
        bresp <= next_bresp;
        bvalid <= next_bvalid;
        arready <= next_arready;
        rdata <= next_rdata;
        rresp <= next_rresp;
        rlast <= next_rlast;
        rvalid <= next_rvalid;
        lite_address <= next_lite_address;
        lite_wdata <= next_lite_wdata;
        lite_awvalid <= next_lite_awvalid;
        lite_wvalid <= next_lite_wvalid;
        lite_arvalid <= next_lite_arvalid;
        most <= limit;
    end

    harness #(.DATA_WIDTH(DATA_WIDTH), .ADDRESS_WIDTH(ADDRESS_WIDTH), .CONTROL(CONTROL)) harness (
        .clk(clk), .rst(rst), .limit(most), .done(done), .running(), .cycles(cycles), .idle(idle), .breaches(breaches),
        .read_beats(read_beats), .write_beats(write_beats), .interrupt(raised),
        .m_axi_awid(), .m_axi_awaddr(awaddr), .m_axi_awlen(awlen), .m_axi_awsize(), .m_axi_awburst(), .m_axi_awlock(),
        .m_axi_awcache(), .m_axi_awprot(), .m_axi_awvalid(awvalid), .m_axi_awready(awready),
        .m_axi_wdata(wdata), .m_axi_wstrb(wstrb), .m_axi_wlast(wlast), .m_axi_wvalid(wvalid), .m_axi_wready(wready),
        .m_axi_bid(1'b0), .m_axi_bresp(bresp), .m_axi_bvalid(bvalid), .m_axi_bready(bready),
        .m_axi_arid(), .m_axi_araddr(araddr), .m_axi_arlen(arlen), .m_axi_arsize(), .m_axi_arburst(), .m_axi_arlock(),
        .m_axi_arcache(), .m_axi_arprot(), .m_axi_arvalid(arvalid), .m_axi_arready(arready),
        .m_axi_rid(1'b0), .m_axi_rdata(rdata), .m_axi_rresp(rresp), .m_axi_rlast(rlast), .m_axi_rvalid(rvalid),
        .m_axi_rready(rready),
        .s_axil_awaddr(lite_address), .s_axil_awprot(3'b0), .s_axil_awvalid(lite_awvalid), .s_axil_awready(lite_awready),
        .s_axil_wdata(lite_wdata), .s_axil_wstrb(4'hf), .s_axil_wvalid(lite_wvalid), .s_axil_wready(lite_wready),
        .s_axil_bresp(lite_bresp), .s_axil_bvalid(lite_bvalid), .s_axil_bready(1'b1),
        .s_axil_araddr(lite_address), .s_axil_arprot(3'b0), .s_axil_arvalid(lite_arvalid), .s_axil_arready(lite_arready),
        .s_axil_rdata(lite_rdata), .s_axil_rresp(lite_rresp), .s_axil_rvalid(lite_rvalid), .s_axil_rready(1'b1)
    );
endmodule
