// The harness with its exact memory driven from C++ alone: what the model can do without a test bench in Python.
//
// Reads job.txt (numbers in the order of main below), prints the cycles and the seconds from the first register
// write to the interrupt. sim/bare.py writes the one and reads the other.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

static std::unique_ptr<Vtop> top;

static void cycle() {
    top->clk = 0;
    top->eval();
    top->clk = 1;
    top->eval();
}

// Ready is sampled before the edge, as a register in the design would.
static void write_register(uint64_t address, uint64_t value) {
    bool address_waits = true, data_waits = true, answer_waits = true;
    top->s_axil_awaddr = address;
    top->s_axil_wdata = value;
    top->s_axil_wstrb = 15;
    top->s_axil_bready = 1;
    while (address_waits || data_waits || answer_waits) {
        top->clk = 0;
        top->s_axil_awvalid = address_waits;
        top->s_axil_wvalid = data_waits;
        top->eval();
        const bool address_taken = top->s_axil_awready, data_taken = top->s_axil_wready, answered = top->s_axil_bvalid;
        top->clk = 1;
        top->eval();
        if (address_taken) address_waits = false;
        if (data_taken) data_waits = false;
        if (answered) answer_waits = false;
    }
    top->s_axil_awvalid = top->s_axil_wvalid = top->s_axil_bready = 0;
}

static uint64_t number(FILE* file) {
    unsigned long long value = 0;
    if (fscanf(file, "%llu", &value) != 1) {
        fprintf(stderr, "job.txt is too short\n");
        exit(2);
    }
    return value;
}

int main(int argc, char** argv) {
    Verilated::commandArgs(argc, argv);
    top = std::make_unique<Vtop>();
    // What begins at random may be pins, too.
    top->clk = top->load = top->dump = top->job = 0;
    top->s_axil_awvalid = top->s_axil_wvalid = top->s_axil_bready = top->s_axil_arvalid = top->s_axil_rready = 0;
    FILE* file = fopen("job.txt", "r");
    if (!file) return 2;
    top->read_latency = number(file);
    top->write_latency = number(file);
    top->interval = number(file);
    top->outstanding = number(file);
    top->base = number(file);
    top->size = number(file);
    top->dump_first = number(file);
    top->dump_last = number(file);
    top->limit = number(file);
    top->rst = 1;
    for (int i = 0; i < 4; i++) cycle();
    top->rst = 0;
    top->load = 1;
    cycle();
    top->load = 0;
    const auto started = std::chrono::steady_clock::now();
    for (uint64_t writes = number(file); writes > 0; writes--) {
        const uint64_t address = number(file);
        write_register(address, number(file));
    }
    while (!top->done) cycle();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
    fclose(file);
    printf("%llu %.9f\n", static_cast<unsigned long long>(top->cycles), seconds.count());
    top->dump = 1;
    cycle();
    top->final();
    top.reset();
    return 0;
}
