// An SDR SDRAM of 16 bits and 4 banks, and what its data sheet forbids.
//
// The pins are sampled at the rising edge of `clk`. Times are cycles of it, between two commands. Bursts are single words; a
// word that is read can be sampled CAS edges after its command. What no word drives is noise.
//
// `breach` is sticky:
//   0 a command before POWER_UP cycles, or cke low          8 RRD, a row too soon after that of another bank
//   1 a row before START refreshes and the mode register    9 RFC, a command too soon after a refresh
//   2 a mode register of other than single words and CAS   10 WR, a precharge too soon after a write
//   3 MRD, a command too soon after the mode register      11 a column of no row, a row of an open bank, or
//   4 RCD, a column too soon after its row                    a refresh or the mode register with an open bank
//   5 RP, a row or refresh too soon after a precharge      12 a refresh, due in every INTERVAL, is LATE cycles late
//   6 RAS, a precharge too soon after the row              13 both sides drive dq, or one right after the other
//   7 RC, a row too soon after the bank's last one         14 a write of which nothing is driven
//                                                          15 a command, or a precharge with a column, that nothing here does

module sdram #(
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
    parameter POWER_UP = 20000,
    parameter START = 8,
    parameter LATE = 100
) (
    input clk,
    input cke,
    input cs_n,
    input ras_n,
    input cas_n,
    input we_n,
    input [1:0] ba,
    input [ROW_BITS-1:0] a,
    input [1:0] dqm,
    input [15:0] dq_i,
    input dq_oe,
    output [15:0] dq_o,
    output reg [15:0] breach
);
    localparam PLACES = COLUMN_BITS + 2 + ROW_BITS;
    localparam [2:0] MODE = 3'b000, REFRESH = 3'b001, PRECHARGE = 3'b010, ACTIVATE = 3'b011, WRITE = 3'b100, READ = 3'b101;
    localparam [2:0] NONE = 3'b111;
    localparam LONG = 65535;

    reg [15:0] contents [0:(1 << PLACES) - 1];
    reg [3:0] open;
    reg [ROW_BITS-1:0] row [0:3];
    // Cycles since the last command of that kind, up to LONG.
    integer activated [0:3];
    integer precharged [0:3];
    integer written [0:3];
    integer refreshed, moded;
    integer powered, refreshes, owed, i;
    reg has_mode;

    // Words that are read, on their way: the last stage is on the pins.
    reg [15:0] word [1:CAS];
    reg [CAS:1] full;
    reg [1:0] masked, driven;
    reg drove;
    reg [15:0] noise;

    wire [2:0] command = cs_n ? NONE : {ras_n, cas_n, we_n};
    wire [PLACES-1:0] place = {row[ba], ba, a[COLUMN_BITS-1:0]};
    wire [3:0] named = a[10] ? 4'b1111 : 4'b0001 << ba;

    assign dq_o = {driven[1] ? word[CAS][15:8] : noise[15:8], driven[0] ? word[CAS][7:0] : noise[7:0]};

    initial begin
        breach = 0;
        open = 0;
        {full, masked, driven, drove, has_mode} = 0;
        {powered, refreshes, owed} = 0;
        refreshed = LONG;
        moded = LONG;
        noise = 16'hace1;
        for (i = 0; i < 4; i = i + 1) begin
            activated[i] = LONG;
            precharged[i] = LONG;
            written[i] = LONG;
        end
    end

    always @(posedge clk) begin
        noise <= {noise[14:0], noise[15] ^ noise[13] ^ noise[12] ^ noise[10]};
        if (powered < POWER_UP) powered <= powered + 1;
        if (refreshed < LONG) refreshed <= refreshed + 1;
        if (moded < LONG) moded <= moded + 1;
        for (i = 0; i < 4; i = i + 1) begin
            if (activated[i] < LONG) activated[i] <= activated[i] + 1;
            if (precharged[i] < LONG) precharged[i] <= precharged[i] + 1;
            if (written[i] < LONG) written[i] <= written[i] + 1;
        end
        if (refreshes >= START) owed <= owed + 1;
        if (owed >= INTERVAL + LATE) breach[12] <= 1;

        for (i = 2; i <= CAS; i = i + 1) word[i] <= word[i-1];
        full <= {full[CAS-1:1], command == READ};
        if (command == READ) word[1] <= contents[place];
        masked <= dqm;
        driven <= {2{full[CAS-1]}} & ~masked;
        drove <= |driven;
        if (dq_oe & (drove | |driven)) breach[13] <= 1;

        if (!cke || (command != NONE && powered < POWER_UP)) breach[0] <= 1;
        if (command != NONE) begin
            if (moded < MRD) breach[3] <= 1;
            if (refreshed < RFC) breach[9] <= 1;
        end
        case (command)
            NONE: ;
            MODE: begin
                moded <= 1;
                has_mode <= 1;
                if (a[6:0] != {CAS[2:0], 4'b0000} || |a[ROW_BITS-1:7] || |ba) breach[2] <= 1;
                if (|open) breach[11] <= 1;
                for (i = 0; i < 4; i = i + 1) if (precharged[i] < RP) breach[5] <= 1;
            end
            REFRESH: begin
                refreshed <= 1;
                if (refreshes < START) refreshes <= refreshes + 1;
                owed <= owed < INTERVAL ? 0 : owed - INTERVAL + 1;
                if (|open) breach[11] <= 1;
                for (i = 0; i < 4; i = i + 1) if (precharged[i] < RP) breach[5] <= 1;
            end
            PRECHARGE: begin
                open <= open & ~named;
                for (i = 0; i < 4; i = i + 1) if (named[i]) begin
                    precharged[i] <= 1;
                    if (activated[i] < RAS) breach[6] <= 1;
                    if (written[i] < WR) breach[10] <= 1;
                end
            end
            ACTIVATE: begin
                open[ba] <= 1;
                row[ba] <= a;
                activated[ba] <= 1;
                if (!has_mode || refreshes < START) breach[1] <= 1;
                if (open[ba]) breach[11] <= 1;
                if (precharged[ba] < RP) breach[5] <= 1;
                if (activated[ba] < RC) breach[7] <= 1;
                for (i = 0; i < 4; i = i + 1) if (i != ba && activated[i] < RRD) breach[8] <= 1;
            end
            READ, WRITE: begin
                if (!open[ba]) breach[11] <= 1;
                if (activated[ba] < RCD) breach[4] <= 1;
                if (a[10]) breach[15] <= 1;
                if (command == WRITE) begin
                    written[ba] <= 1;
                    if (!dq_oe) breach[14] <= 1;
                    if (!dqm[0]) contents[place][7:0] <= dq_i[7:0];
                    if (!dqm[1]) contents[place][15:8] <= dq_i[15:8];
                end
            end
            default: breach[15] <= 1;
        endcase
    end
endmodule
