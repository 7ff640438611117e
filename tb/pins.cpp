// Drives a model pin by pin: each cycle takes the bytes of `i` from standard input and gives those of `o`, as they are before the
// clock's edge, to standard output.

#include <cstdio>
#include <memory>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

int main() {
    auto top = std::make_unique<Vtop>();
    top->clk = 0;
    while (fread(&top->i, sizeof(top->i), 1, stdin) == 1) {
        top->clk = 0;
        top->eval();
        if (fwrite(&top->o, sizeof(top->o), 1, stdout) != 1 || fflush(stdout)) return 1;
        top->clk = 1;
        top->eval();
    }
    top->final();
    return 0;
}
