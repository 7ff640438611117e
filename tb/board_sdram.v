// A virtual board with SDRAM: the system and the part on one clock. The program ends when the part is used as it must not be.

module board_sdram #(
    parameter ROW_BITS = 13,
    parameter COLUMN_BITS = 9,
    parameter CAS = 3,
    parameter RCD = 3,
    parameter RP = 3,
    parameter RAS = 5,
    parameter RC = 7,
    parameter RFC = 7,
    parameter RRD = 2,
    parameter WR = 2,
    parameter MRD = 2,
    parameter INTERVAL = 781,
    parameter POWER_UP = 20000
) (
    input clk,
    input rst,
    input i_valid,
    input [7:0] i_payload,
    output i_ready,
    output o_valid,
    output [7:0] o_payload,
    input o_ready,
    input forget,
    output active
);
    wire cke, cs_n, ras_n, cas_n, we_n, dq_oe;
    wire [1:0] ba, dqm;
    wire [ROW_BITS-1:0] a;
    wire [15:0] to_part, from_part, breach;

    gatemill_board system (
        .clk(clk), .rst(rst), .forget(forget), .active(active),
        .i_valid(i_valid), .i_payload(i_payload), .i_ready(i_ready),
        .o_valid(o_valid), .o_payload(o_payload), .o_ready(o_ready),
        .sdram_cke(cke), .sdram_cs_n(cs_n), .sdram_ras_n(ras_n), .sdram_cas_n(cas_n), .sdram_we_n(we_n),
        .sdram_ba(ba), .sdram_a(a), .sdram_dqm(dqm), .sdram_dq_o(to_part), .sdram_dq_oe(dq_oe), .sdram_dq_i(from_part)
    );

    sdram #(
        .ROW_BITS(ROW_BITS), .COLUMN_BITS(COLUMN_BITS), .CAS(CAS), .RCD(RCD), .RP(RP), .RAS(RAS), .RC(RC), .RFC(RFC),
        .RRD(RRD), .WR(WR), .MRD(MRD), .INTERVAL(INTERVAL), .POWER_UP(POWER_UP)
    ) part (
        .clk(clk), .cke(cke), .cs_n(cs_n), .ras_n(ras_n), .cas_n(cas_n), .we_n(we_n), .ba(ba), .a(a), .dqm(dqm),
        .dq_i(to_part), .dq_oe(dq_oe), .dq_o(from_part), .breach(breach)
    );

    always @(posedge clk) if (|breach) begin
        $fwrite(32'h8000_0002, "SDRAM: breach %b (tb/sdram.v)\n", breach);
        $stop;
    end
endmodule
