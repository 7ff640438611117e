// A block RAM of an FPGA, in units of 8 or 9 bits: what the models of an ECP5 and of a GW1N have in common.

// Two ports on units of UNIT bits, 2048 of them: a word is some units (lanes, each written if its lowest address bit is set), or a
// part of one. What is read is what was there before.
module gatemill_ram #(
    parameter UNIT = 9, WIDTH_A = 9, WIDTH_B = 9, REGISTER_A = 0, REGISTER_B = 0
) (
    input clk_a, input enable_a, input write_a, input [13:0] address_a, input [35:0] data_a, output [35:0] q_a,
    input clk_b, input enable_b, input write_b, input [13:0] address_b, input [35:0] data_b, output [35:0] q_b
);
    localparam LANES_A = WIDTH_A > UNIT ? WIDTH_A / UNIT : 1, LANES_B = WIDTH_B > UNIT ? WIDTH_B / UNIT : 1;
    localparam PART_A = WIDTH_A > UNIT ? UNIT : WIDTH_A, PART_B = WIDTH_B > UNIT ? UNIT : WIDTH_B;

    reg [UNIT-1:0] units[0:2047];
    reg [35:0] now_a, now_b, then_a, then_b;
    wire [10:0] first_a = address_a[13:3] & ~(LANES_A - 1), first_b = address_b[13:3] & ~(LANES_B - 1);
    wire [3:0] place_a = PART_A < 8 ? address_a[2:0] & ~(PART_A - 1) : 0;
    wire [3:0] place_b = PART_B < 8 ? address_b[2:0] & ~(PART_B - 1) : 0;
    integer i, j;

    initial for (i = 0; i < 2048; i = i + 1) units[i] = 0;

    always @(posedge clk_a) begin
        then_a <= now_a;
        if (enable_a)
            for (i = 0; i < LANES_A; i = i + 1) begin
                now_a[i*PART_A+:PART_A] <= units[first_a+i][place_a+:PART_A];
                if (write_a && (LANES_A == 1 || address_a[i]))
                    units[first_a+i][place_a+:PART_A] <= data_a[i*PART_A+:PART_A];
            end
    end

    always @(posedge clk_b) begin
        then_b <= now_b;
        if (enable_b)
            for (j = 0; j < LANES_B; j = j + 1) begin
                now_b[j*PART_B+:PART_B] <= units[first_b+j][place_b+:PART_B];
                if (write_b && (LANES_B == 1 || address_b[j]))
                    units[first_b+j][place_b+:PART_B] <= data_b[j*PART_B+:PART_B];
            end
    end

    assign q_a = REGISTER_A ? then_a : now_a;
    assign q_b = REGISTER_B ? then_b : now_b;
endmodule
